"""A fit's or a range test's request → all that is known of it before it is queued."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from service.context import Context
from service.datasets import NewDataset, find_named_row, read_inline
from service.errors import InvalidInput, Place
from service.estimates import estimate, most_memory_of
from service.kinds import FIT, LR_RANGE_TEST, Kind
from service.lr_range import refuse_unusable, resolve_range_test, short_fit
from service.origin import Origin
from service.queue import FITS_CPU, FITS_GPU, FITS_SMALL
from service.resolution import resolve
from service.schemas.fits import FitRequest, ValidationDataset
from service.schemas.inits import FitInit
from service.schemas.lr_range import LrRangeRequest
from service.settings import Settings
from service.starts import find_origin
from service.webhooks import refuse_undeliverable

_MOST_SMALL_SECONDS = 0.25
PRIORITIES = {"low": -1, "normal": 0, "high": 1}

# Where to mend what takes the most memory, and how.
_MENDS = {
    "dataset": ("/dataset", "fit fewer rows or features"),
    "model": ("/model", "choose a smaller model"),
    "batch_size": ("/batch_size", "give a smaller batch_size or a smaller model"),
    "record": ("/record/every", "raise record.every, or leave record.weights and gradients out"),
}


@dataclass(frozen=True)
class Prepared:
    """A request that can be queued, with what it names: `spec` is what the fit keeps of it.

    `dataset` and `validation` are datasets' rows; `new` is the dataset that the request holds,
    read but not kept.
    """

    request: FitRequest | LrRangeRequest
    owner: str
    spec: dict[str, Any]
    dataset: Mapping[str, Any]
    new: NewDataset | None
    validation: Mapping[str, Any] | None
    origin: Origin | None

    @property
    def kind(self) -> Kind:
        """What is asked for."""
        return LR_RANGE_TEST if isinstance(self.request, LrRangeRequest) else FIT

    @property
    def queue(self) -> str:
        """Where it waits: nothing long stands before what is short, nor a device idle."""
        if self.request.device == "cuda":
            return FITS_GPU
        return FITS_SMALL if self.estimate["seconds"] <= _MOST_SMALL_SECONDS else FITS_CPU

    @cached_property
    def estimate(self) -> dict[str, Any]:
        """What it would take: see `service.estimates`."""
        return estimate(*self._estimated)

    def refuse_too_large(self, settings: Settings) -> None:
        """Raise InvalidInput where it would take more memory than a fit may."""
        most_bytes = settings.max_fit_bytes
        if most_bytes is None or self.estimate["memory_bytes"] <= most_bytes:
            return
        where, mend = _MENDS[most_memory_of(*self._estimated)]
        if where == "/record/every" and self.kind is LR_RANGE_TEST:
            where, mend = "/num_iter", "lower num_iter"
        detail = (
            f"the {self.kind.noun} would take about {self.estimate['memory_bytes']} bytes of "
            f"memory, past the limit of {most_bytes} (THALWEG_MAX_FIT_BYTES); {mend}"
        )
        raise InvalidInput(detail, places=[Place("too_much_memory", detail, where)])

    @property
    def _estimated(self) -> tuple[FitRequest, Mapping[str, Any], Mapping[str, Any], int | None]:
        """What the estimates take."""
        request = self.request
        if isinstance(request, LrRangeRequest):
            # Its steps are the plain loop's.
            request = short_fit(request).model_copy(update={"strategy": "reference"})
        n_held_out = None if self.validation is None else self.validation["n_rows"]
        return request, self.spec, self.dataset, n_held_out


@contextmanager
def prepared(
    context: Context, request: FitRequest | LrRangeRequest, owner: str
) -> Iterator[Prepared]:
    """Look up what the request names, and resolve it; a new dataset is there until the block ends.

    Raises InvalidInput; NotFound or Gone for what the request names.
    """
    if isinstance(request, LrRangeRequest):
        refuse_unusable(request)
    refuse_undeliverable(context, request.webhook, owner)
    validation = _validation_row(context, request, owner)
    origin = (
        find_origin(context, request.init, owner) if isinstance(request.init, FitInit) else None
    )
    with ExitStack() as stack:
        new = None
        if isinstance(request.dataset, str):
            dataset = find_named_row(context, request.dataset, owner, "/dataset")
        else:
            scratch = stack.enter_context(context.storage.scratch())
            new = read_inline(context, request.dataset, owner, scratch, above=("dataset",))
            dataset = new.row
        spec = _spec(context, request, dataset, validation, origin)
        ready = Prepared(request, owner, spec, dataset, new, validation, origin)
        ready.refuse_too_large(context.settings)
        yield ready


def _spec(
    context: Context,
    request: FitRequest | LrRangeRequest,
    dataset: Mapping[str, Any],
    validation: Mapping[str, Any] | None,
    origin: Origin | None,
) -> dict[str, Any]:
    settings = context.settings
    if isinstance(request, LrRangeRequest):
        return resolve_range_test(request, dataset, settings, origin=origin)
    return resolve(request, dataset, settings, validation=validation, origin=origin)


def _validation_row(
    context: Context, request: FitRequest | LrRangeRequest, owner: str
) -> Mapping[str, Any] | None:
    # A range test looks at training rows alone: another dataset's are none of them.
    unused = isinstance(request, LrRangeRequest)
    if unused or not isinstance(request.validation, ValidationDataset):
        return None
    return find_named_row(context, request.validation.dataset, owner, "/validation/dataset")
