"""A batch's bodies → all that is known of each fit before it is queued.

Each body is validated as if it were posted alone. What then costs the most, whether it suits its
dataset and what it would take, is looked at once for all fits that differ in nothing that it
depends on.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import orjson
from pydantic_core import to_json

from service.context import Context
from service.datasets import NewDataset, find_named_row, read_inline
from service.differences import Differences
from service.digests import spec_digest
from service.errors import Gone, InvalidInput, NotFound, Place
from service.origin import Origin
from service.preparation import PRIORITIES, Prepared
from service.resolution import filled_in, resolve
from service.schemas.batches import METRICS
from service.schemas.fits import FitRequest, ValidationDataset
from service.schemas.inits import FitInit
from service.starts import find_origin
from service.suitability import OF_CLASSES
from service.sweeps import Bodies, Lines
from service.webhooks import refuse_undeliverable

_MOST_PLACES = 20
# What a sweep is not over.
_BESIDE = ("checks", "webhook")

# How a body becomes a request; raises InvalidInput with pointers into it.
Parse = Callable[[Any], FitRequest]


@dataclass(frozen=True, slots=True)
class Member:
    """One fit that can be queued; `spec` is JSON."""

    spec: bytes
    spec_digest: str
    dataset_id: str
    validation_dataset_id: str | None
    queue: str
    priority: int
    estimated_seconds: float
    tags: list[str]
    metadata: dict[str, str]
    origin: Origin | None

    @property
    def n_bytes(self) -> int:
        """What is kept of it, beside its dataset."""
        return len(self.spec) + (0 if self.origin is None else self.origin.n_bytes)


@dataclass(frozen=True)
class Members:
    """A batch's fits, the datasets that the request holds, and the paths at which they differ.

    `named` are the stored datasets that they need, with where in the request.
    """

    fits: list[Member]
    new: list[NewDataset]
    named: Mapping[str, str | None]
    varied: list[str]
    metrics: frozenset[str]


@contextmanager
def prepared_members(
    context: Context, bodies: Bodies, owner: str, parse: Parse
) -> Iterator[Members]:
    """Look at every body; new datasets are there until the block ends.

    Raises InvalidInput with the first places to mend, and where the fits come to too many bytes;
    NotFound or Gone for what a body names.
    """
    with ExitStack() as stack:
        differences = Differences() if bodies.varied is None else None
        preparation = _Preparation(context, owner, parse, stack, differences)
        members = _each(preparation, bodies)
        yield Members(
            members,
            [*preparation.inline.values()],
            preparation.pointers,
            (bodies.varied if differences is None else differences.paths) or [],
            frozenset(preparation.metrics),
        )


def _each(preparation: "_Preparation", bodies: Bodies) -> list[Member]:
    members: list[Member] = []
    places: dict[Place, None] = {}
    for i, body in enumerate(bodies):
        try:
            members.append(preparation.member(body))
        except InvalidInput as error:
            places |= {bodies.placed(i, place): None for place in error.places}
            if len(places) >= _MOST_PLACES:
                break
        except (NotFound, Gone) as error:
            placed = [bodies.placed(i, place) for place in error.places]
            raise type(error)(error.detail, places=placed) from None
        else:
            preparation.point(partial(bodies.placed, i))
            preparation.refuse_too_many_bytes()
    if places:
        first = next(iter(places))
        where = [f"row {first.row}"] if isinstance(bodies, Lines) else []
        told = [*where, *filter(None, [first.pointer]), first.detail]
        raise InvalidInput(": ".join(told), places=[*places][:_MOST_PLACES])
    return members


@dataclass(frozen=True, slots=True)
class _Checked:
    """What fits of one shape have in common."""

    queue: str
    seconds: float


@dataclass
class _Preparation:
    """What has been looked at so far."""

    context: Context
    owner: str
    parse: Parse
    stack: ExitStack
    # None where the request itself says what varies.
    differences: Differences | None
    inline: dict[bytes, NewDataset] = field(default_factory=dict)
    pointers: dict[str, str | None] = field(default_factory=dict)
    metrics: set[str] = field(default_factory=set)
    # Of all that the fits keep: a short body that describes many can come to more than a disk has.
    n_bytes: int = 0
    # Beside each object stands the object: while it is there, no other one has its id.
    _digests: dict[int, tuple[Any, bytes]] = field(default_factory=dict)
    _named: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _origins: dict[FitInit, Origin] = field(default_factory=dict)
    _shapes: dict[bytes, _Checked] = field(default_factory=dict)
    _addresses: set[str] = field(default_factory=set)
    _unplaced: dict[str, Place] = field(default_factory=dict)

    def member(self, body: Any) -> Member:
        """The body's fit; raises InvalidInput, NotFound and Gone with places in the body."""
        request, dataset = self._request(body)
        if request.reuse:
            detail = "a batch computes each of its fits anew; post this one alone to reuse another"
            raise InvalidInput(detail, places=[Place("no_reuse", detail, "/reuse")])
        if request.webhook is not None and request.webhook.url not in self._addresses:
            refuse_undeliverable(self.context, request.webhook, self.owner)
            self._addresses.add(request.webhook.url)
        validation = None
        if isinstance(request.validation, ValidationDataset):
            validation = self._find(request.validation.dataset, "/validation/dataset")
        origin = self._origin(request.init) if isinstance(request.init, FitInit) else None
        spec = filled_in(request, dataset)
        checked = self._checked(request, spec, dataset, validation, origin)
        if self.differences is not None:
            self.differences.look({name: spec[name] for name in spec if name not in _BESIDE})
        member = Member(
            spec=orjson.dumps(spec),
            spec_digest=spec_digest(spec),
            dataset_id=dataset["id"],
            validation_dataset_id=None if validation is None else validation["id"],
            queue=checked.queue,
            priority=PRIORITIES[request.priority],
            estimated_seconds=checked.seconds,
            tags=request.tags,
            metadata=request.metadata,
            origin=origin,
        )
        self.n_bytes += member.n_bytes
        return member

    def refuse_too_many_bytes(self) -> None:
        """Raise InvalidInput where what has been looked at so far comes to too many bytes."""
        most = self.context.settings.max_batch_bytes
        if self.n_bytes > most:
            detail = (
                "the fits' specs, tables and starting points come to more than the limit of "
                f"{most} bytes (THALWEG_MAX_BATCH_BYTES); post fewer, or name a stored dataset"
            )
            raise InvalidInput(detail, places=[Place("too_many_bytes", detail)])

    def point(self, placed: Callable[[Place], Place]) -> None:
        """Note where the request names the datasets that the last body named first."""
        for dataset_id, place in self._unplaced.items():
            self.pointers[dataset_id] = placed(place).pointer
        self._unplaced.clear()

    def _request(self, body: Any) -> tuple[FitRequest, Mapping[str, Any]]:
        """The body as a request, and its dataset's row."""
        given = body.get("dataset") if isinstance(body, dict) else None
        if not isinstance(given, dict):
            request = self.parse(body)
            return request, self._find(str(request.dataset), "/dataset")
        digest = self._digest(given)
        if known := self.inline.get(digest):
            return self.parse(body | {"dataset": known.row["id"]}), known.row
        request = self.parse(body)
        if isinstance(request.dataset, str):
            raise AssertionError("an object is no id")
        scratch = self.stack.enter_context(self.context.storage.scratch())
        new = read_inline(self.context, request.dataset, self.owner, scratch, above=("dataset",))
        self.inline[digest] = new
        self.n_bytes += new.row["size_bytes"]
        return request, new.row

    def _digest(self, given: dict[str, Any]) -> bytes:
        """Of a dataset's JSON: one that a sweep's fits share is the same object in each."""
        if id(given) not in self._digests:
            content = to_json(given, inf_nan_mode="constants")
            self._digests[id(given)] = given, hashlib.sha256(content).digest()
        return self._digests[id(given)][1]

    def _find(self, dataset_id: str, where: str) -> Mapping[str, Any]:
        if dataset_id not in self._named:
            self._named[dataset_id] = find_named_row(self.context, dataset_id, self.owner, where)
            self._unplaced[dataset_id] = Place("gone", "", where)
        return self._named[dataset_id]

    def _origin(self, init: FitInit) -> Origin:
        if init not in self._origins:
            self._origins[init] = find_origin(self.context, init, self.owner)
        return self._origins[init]

    def _checked(
        self,
        request: FitRequest,
        spec: Mapping[str, Any],
        dataset: Mapping[str, Any],
        validation: Mapping[str, Any] | None,
        origin: Origin | None,
    ) -> _Checked:
        key = _shape(spec)
        if key not in self._shapes:
            resolve(request, dataset, self.context.settings, validation=validation, origin=origin)
            one = Prepared(request, self.owner, dict(spec), dataset, None, validation, origin)
            one.refuse_too_large(self.context.settings)
            self._shapes[key] = _Checked(one.queue, one.estimate["seconds"])
            self.metrics |= _metrics_of(spec)
        return self._shapes[key]


def _shape(spec: Mapping[str, Any]) -> bytes:
    """All of a spec that `resolve` and the estimates look at: of given weights the shapes alone."""
    seen = {
        **spec,
        "seed": None,
        "tags": None,
        "metadata": None,
        "priority": None,
        "webhook": None,
        "optimizer": spec["optimizer"] | {"lr": None},
        "checks": [[one["target"], isinstance(one["expected"], dict)] for one in spec["checks"]],
    }
    given = spec["init"].get("weights")
    if given is not None:
        seen["init"] = {
            name: [len(row) if isinstance(row, list) else 0 for row in rows]
            for name, rows in given.items()
        }
    return orjson.dumps(seen)


def _metrics_of(spec: Mapping[str, Any]) -> set[str]:
    """The metrics that a fit of this spec can have."""
    of_classes = spec["loss"]["kind"] in OF_CLASSES
    numbers = {"loss", "mse", "rmse", "mae", "r2", "max_error"}
    rows = ("train",) if spec["validation"] is None else ("train", "validation")
    return {"final_loss"} | {
        name
        for name in METRICS
        if (parts := name.split("."))[0] in rows
        and (parts[1] == "loss" or (parts[1] in numbers) != of_classes)
    }
