"""Taking a fit or a range test in: prepare it, queue it, wake a worker."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import structlog

from service.callers import Caller
from service.context import Context
from service.database import Connection
from service.database import datasets as dataset_queries
from service.database import fits as queries
from service.datasets import add
from service.digests import spec_digest
from service.errors import Gone, InvalidInput, Place, QueueFull, Quota, QuotaExceeded
from service.idempotency import Ticket, redeem
from service.ids import new_id
from service.limits import hold_queue
from service.preparation import PRIORITIES, Prepared, prepared
from service.schemas.fits import FitRequest
from service.schemas.lr_range import LrRangeRequest
from service.starts import stored_origins
from service.waking import wake

log = structlog.get_logger(__name__)

# More requests are never between their count and their commit at one moment.
_MOST_BESIDE_OTHERS = 4_096


def submit(
    context: Context,
    request: FitRequest | LrRangeRequest,
    *,
    owner: str,
    ticket: Ticket | None = None,
) -> dict[str, Any]:
    """Queue the fit, then wake a worker; the fit as clients see it.

    With `reuse` an earlier fit of the same spec on the same numbers, if there is one. A ticket is
    redeemed by it. Raises InvalidInput; NotFound or Gone for what the request names; QueueFull;
    KeyInFlight.
    """
    with prepared(context, request, owner) as ready:
        row, is_new = _queue(context, ready, ticket)
    log.info(
        "fit_submitted" if is_new else "fit_reused",
        **context.caller.named,
        fit_id=row["id"],
        kind=row["kind"],
    )
    if row["status"] == "queued":
        wake(context, [row["queue"]])
    return ready.kind.body(row)


def _queue(
    context: Context, ready: Prepared, ticket: Ticket | None
) -> tuple[Mapping[str, Any], bool]:
    """The new fit's row with its dataset's facts, or else that of an earlier one to be reused."""
    row = _row(ready, context.caller)
    known = _known(context, ready, row)
    if known is not None:
        with context.database.write() as connection:
            redeem(connection, ticket, known["id"])
        return known, False
    origins = {} if ready.origin is None else {row["id"]: ready.origin}
    with stored_origins(context, origins) as artifacts:

        def insert(connection: Connection) -> None:
            _insert(context, connection, row, artifacts)
            redeem(connection, ticket, row["id"])

        if ready.new is not None:
            add(context, ready.new, also=insert, hold=hold_queue)
        else:
            _queue_on_known(context, row, insert)
    facts = {"digest": ready.dataset["digest"], "n_rows": ready.dataset["n_rows"]}
    return {**row, **facts}, True


def _queue_on_known(
    context: Context, row: Mapping[str, Any], insert: Callable[[Connection], None]
) -> None:
    """Queue a fit on a dataset that is there: beside others, while there is room for all."""

    def write(connection: Connection, *, alone: bool) -> bool:
        """Whether it is queued: where room is short, others may not be counting meanwhile."""
        hold_queue(context.settings, connection, row["owner"], alone=alone)
        _hold(connection, row["dataset_id"], "/dataset")
        if not alone and _room(context, connection) < _MOST_BESIDE_OTHERS:
            return False
        insert(connection)
        return True

    together = context.database.write_together
    if context.database.writes_in_turn or not together(partial(write, alone=False)):
        together(partial(write, alone=True))


def _row(ready: Prepared, caller: Caller) -> dict[str, Any]:
    now = time.time()
    return {
        "id": new_id(ready.kind.id_prefix),
        "kind": ready.kind.name,
        "owner": ready.owner,
        "status": "queued",
        "dataset_id": ready.dataset["id"],
        "validation_dataset_id": None if ready.validation is None else ready.validation["id"],
        "spec": ready.spec,
        "spec_digest": spec_digest(ready.spec),
        "created_at": now,
        "expires_at": None,
        "queue": ready.queue,
        "priority": PRIORITIES[ready.request.priority],
        "estimated_seconds": ready.estimate["seconds"],
        "attempt": 1,
        "fence": 0,
        "woken_at": now,
        **caller.named,
        "tags": ready.request.tags,
        "metadata": ready.request.metadata,
    }


def _known(context: Context, ready: Prepared, row: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """An earlier fit that had these numbers, where the request would reuse it."""
    if not ready.request.reuse:
        return None
    with context.database.read() as connection:
        found = queries.find_same(
            connection,
            ready.owner,
            spec_digest=row["spec_digest"],
            dataset_digest=ready.dataset["digest"],
            now=time.time(),
            kind=ready.kind.name,
        )
    return None if found is None else found._asdict()


def _hold(connection: Connection, dataset_id: str, pointer: str) -> None:
    if not dataset_queries.hold_dataset(connection, dataset_id):
        detail = f"the dataset {dataset_id} has been deleted"
        raise Gone(detail, places=[Place("gone", detail, pointer)])


def refuse_full(context: Context, connection: Connection, owner: str, n_new: int = 1) -> None:
    """Raise QueueFull where so many fits have no room, and QuotaExceeded where the owner has none.

    Raises InvalidInput where there would be none in an empty queue either.
    """
    settings = context.settings
    _refuse_for_good("max_queued_fits", settings.max_queued_fits, n_new)
    _refuse_for_good("max_owner_queued_fits", settings.max_owner_queued_fits, n_new)
    if n_new > _room(context, connection):
        raise QueueFull("too many fits wait already; try again later")
    most = settings.max_owner_queued_fits
    if most is None:
        return
    queued = queries.count_queued(connection, owner)
    if queued + n_new > most:
        quota = Quota("queued-fits", most, max(0, most - queued))
        raise QuotaExceeded(f"{queued} fits of yours wait already, and {most} is the limit", quota)


def _room(context: Context, connection: Connection) -> int:
    return context.settings.max_queued_fits - queries.count_queued(connection)


def _refuse_for_good(name: str, most: int | None, n_new: int) -> None:
    # One fit alone is never too many: a queue that takes none at all is closed for now.
    if most is not None and n_new > max(most, 1):
        detail = f"{n_new} fits in one call are past the limit of {most} that may wait ({name})"
        raise InvalidInput(detail, places=[Place("too_many_fits", detail)])


def _insert(
    context: Context,
    connection: Connection,
    row: Mapping[str, Any],
    artifacts: list[dict[str, Any]],
) -> None:
    refuse_full(context, connection, row["owner"])
    if row["validation_dataset_id"] is not None:
        _hold(connection, row["validation_dataset_id"], "/validation/dataset")
    queries.insert_fits(connection, [row])
    if artifacts:
        queries.insert_artifacts(connection, artifacts)
