"""Taking a fit or a range test in: look up what it names, resolve it, queue it, wake a worker."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from service.context import Context
from service.database import Connection
from service.database import datasets as dataset_queries
from service.database import fits as queries
from service.datasets import add, find_named_row, read_inline
from service.digests import spec_digest
from service.errors import Gone, Place, QueueFull
from service.ids import new_id
from service.kinds import FIT, LR_RANGE_TEST, Kind
from service.lr_range import refuse_unusable, resolve_range_test
from service.origin import Origin
from service.resolution import resolve
from service.schemas.fits import FitFields, FitRequest, ValidationDataset
from service.schemas.inits import FitInit
from service.schemas.lr_range import LrRangeRequest
from service.starts import find_origin, store_origin
from service.waking import wake


@dataclass(frozen=True)
class Submission:
    """A request, who sent it, and what it names beside its dataset."""

    request: FitRequest | LrRangeRequest
    owner: str
    traceparent: str | None
    validation: Mapping[str, Any] | None
    origin: Origin | None

    @property
    def kind(self) -> Kind:
        """What is asked for."""
        return LR_RANGE_TEST if isinstance(self.request, LrRangeRequest) else FIT


def submit(
    context: Context,
    request: FitRequest | LrRangeRequest,
    *,
    owner: str,
    traceparent: str | None = None,
) -> dict[str, Any]:
    """Queue the fit, then wake a worker; the fit as clients see it.

    With `reuse` an earlier fit of the same spec on the same numbers, if there is one. Raises
    InvalidInput; NotFound or Gone for what the request names; QueueFull.
    """
    if isinstance(request, LrRangeRequest):
        refuse_unusable(request)
    submission = Submission(
        request, owner, traceparent,
        validation=_validation_row(context, request, owner),
        origin=_origin(context, request, owner),
    )  # fmt: skip
    take_in = _on_stored if isinstance(request.dataset, str) else _on_inline
    row = take_in(context, submission)
    if row["status"] == "queued":
        wake(context, [row["id"]])
    return submission.kind.body(row)


def _validation_row(
    context: Context, request: FitRequest | LrRangeRequest, owner: str
) -> Mapping[str, Any] | None:
    # A range test looks at training rows alone: another dataset's are none of them.
    unused = isinstance(request, LrRangeRequest)
    if unused or not isinstance(request.validation, ValidationDataset):
        return None
    return find_named_row(context, request.validation.dataset, owner, "/validation/dataset")


def _origin(context: Context, request: FitFields, owner: str) -> Origin | None:
    if not isinstance(request.init, FitInit):
        return None
    return find_origin(context, request.init, owner)


def _on_stored(context: Context, submission: Submission) -> Mapping[str, Any]:
    """The row of a fit on the dataset that the request names, with the dataset's facts."""
    dataset_id = str(submission.request.dataset)
    dataset = find_named_row(context, dataset_id, submission.owner, "/dataset")
    row = _row(context, submission, dataset)
    known = _known(context, submission, row, dataset)
    if known is not None:
        return known
    artifacts = _artifacts(context, submission, row)
    with context.database.write() as connection:
        _hold(connection, dataset_id, "/dataset")
        _insert(context, connection, row, artifacts)
    return _with_facts(row, dataset)


def _on_inline(context: Context, submission: Submission) -> Mapping[str, Any]:
    """The row of a fit together with the dataset that the request holds."""
    request = submission.request
    if isinstance(request.dataset, str):
        raise TypeError("the request names a dataset")
    with context.storage.scratch() as scratch:
        new = read_inline(context, request.dataset, submission.owner, scratch, above=("dataset",))
        row = _row(context, submission, new.row)
        known = _known(context, submission, row, new.row)
        if known is not None:
            return known
        artifacts = _artifacts(context, submission, row)
        add(context, new, also=lambda connection: _insert(context, connection, row, artifacts))
    return _with_facts(row, new.row)


def _with_facts(row: Mapping[str, Any], dataset: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "digest": dataset["digest"], "n_rows": dataset["n_rows"]}


def _row(context: Context, submission: Submission, dataset: Mapping[str, Any]) -> dict[str, Any]:
    request, validation = submission.request, submission.validation
    spec = _spec(context, submission, dataset)
    now = time.time()
    return {
        "id": new_id(submission.kind.id_prefix),
        "kind": submission.kind.name,
        "owner": submission.owner,
        "status": "queued",
        "dataset_id": dataset["id"],
        "validation_dataset_id": None if validation is None else validation["id"],
        "spec": spec,
        "spec_digest": spec_digest(spec),
        "created_at": now,
        "expires_at": None,
        "attempt": 1,
        "fence": 0,
        "woken_at": now,
        "traceparent": submission.traceparent,
        "tags": request.tags,
        "metadata": request.metadata,
    }


def _spec(context: Context, submission: Submission, dataset: Mapping[str, Any]) -> dict[str, Any]:
    request, settings, origin = submission.request, context.settings, submission.origin
    if isinstance(request, LrRangeRequest):
        return resolve_range_test(request, dataset, settings, origin=origin)
    return resolve(request, dataset, settings, validation=submission.validation, origin=origin)


def _known(
    context: Context, submission: Submission, row: Mapping[str, Any], dataset: Mapping[str, Any]
) -> Mapping[str, Any] | None:
    """An earlier fit that had these numbers, where the request would reuse it."""
    if not submission.request.reuse:
        return None
    with context.database.read() as connection:
        found = queries.find_same(
            connection,
            submission.owner,
            spec_digest=row["spec_digest"],
            dataset_digest=dataset["digest"],
            now=time.time(),
            kind=submission.kind.name,
        )
    return None if found is None else found._asdict()


def _artifacts(
    context: Context, submission: Submission, row: Mapping[str, Any]
) -> list[dict[str, Any]]:
    origin = submission.origin
    return [] if origin is None else store_origin(context, origin, row["id"])


def _hold(connection: Connection, dataset_id: str, pointer: str) -> None:
    if not dataset_queries.hold_dataset(connection, dataset_id):
        detail = f"the dataset {dataset_id} has been deleted"
        raise Gone(detail, places=[Place("gone", detail, pointer)])


def _insert(
    context: Context,
    connection: Connection,
    row: Mapping[str, Any],
    artifacts: list[dict[str, Any]],
) -> None:
    if queries.count_queued(connection) >= context.settings.max_queued_fits:
        raise QueueFull("too many fits wait already; try again later")
    if row["validation_dataset_id"] is not None:
        _hold(connection, row["validation_dataset_id"], "/validation/dataset")
    queries.insert_fits(connection, [row])
    if artifacts:
        queries.insert_artifacts(connection, artifacts)
