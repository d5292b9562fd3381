"""The life of a fit: submit, claim, renew, finish, requeue, expire.

    queued ──claim──▶ running ──finish──▶ succeeded | failed | cancelled
      ▲                  │
      └──requeue, lease──┘

The database alone decides. Every step is committed before anyone is told, and whoever was not
told finds out from the database.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import structlog

from service.context import Context
from service.database import Connection
from service.database import datasets as dataset_queries
from service.database import fits as queries
from service.datasets import add, find_row, read_inline
from service.errors import Conflict, Gone, NotFound, Place, QueueFull
from service.ids import new_id
from service.queue import BROKER_ERRORS
from service.representation import fit_body
from service.resolution import resolve
from service.retention import expiry, has_expired
from service.schemas.fits import FitRequest
from service.schemas.lists import ListQuery, Page

log = structlog.get_logger(__name__)

# A wake-up that has had this long to arrive, and that the broker no longer has, is lost.
_LOST_AFTER_SECONDS = 5.0
_SWEPT_AT_ONCE = 1000

Outcome = Literal["succeeded", "failed", "cancelled"]


@dataclass(frozen=True)
class Claim:
    """A worker's hold on one fit; `fence` proves it with every write."""

    fit_id: str
    fence: int
    attempt: int
    spec: dict[str, Any]
    dataset_digest: str
    columns: list[dict[str, Any]]
    n_rows: int
    storage_key: str
    created_at: float
    started_at: float
    traceparent: str | None


def submit(
    context: Context, request: FitRequest, *, owner: str, traceparent: str | None = None
) -> dict[str, Any]:
    """Queue the fit, then wake a worker; the fit as clients see it.

    Raises InvalidInput, NotFound or Gone for the dataset, and QueueFull.
    """
    insert = _insert_on_stored if isinstance(request.dataset, str) else _insert_on_inline
    row, dataset = insert(context, request, owner, traceparent)
    _wake(context, [row["id"]])
    return fit_body({**row, "digest": dataset["digest"], "n_rows": dataset["n_rows"]})


def _insert_on_stored(
    context: Context, request: FitRequest, owner: str, traceparent: str | None
) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """Queue a fit on the dataset that the request names; both rows."""
    try:
        dataset = find_row(context, str(request.dataset), owner)
    except (NotFound, Gone) as error:
        place = Place(error.code, error.detail, "/dataset")
        raise type(error)(error.detail, places=[place]) from None
    row = _fit_row(context, request, dataset, traceparent)
    with context.database.write() as connection:
        if not dataset_queries.hold_dataset(connection, dataset["id"]):
            raise Gone(f"the dataset {dataset['id']} has been deleted")
        _insert(context, connection, row)
    return row, dataset


def _insert_on_inline(
    context: Context, request: FitRequest, owner: str, traceparent: str | None
) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """Queue a fit together with the dataset that the request holds; both rows."""
    if isinstance(request.dataset, str):
        raise TypeError("the request names a dataset")
    with context.storage.scratch() as scratch:
        new = read_inline(context, request.dataset, owner, scratch, above=("dataset",))
        row = _fit_row(context, request, new.row, traceparent)
        add(context, new, also=lambda connection: _insert(context, connection, row))
    return row, new.row


def _fit_row(
    context: Context, request: FitRequest, dataset: Mapping[str, Any], traceparent: str | None
) -> dict[str, Any]:
    now = time.time()
    return {
        "id": new_id("fit"),
        "owner": dataset["owner"],
        "status": "queued",
        "dataset_id": dataset["id"],
        "spec": resolve(request, dataset, context.settings),
        "created_at": now,
        "expires_at": None,
        "attempt": 1,
        "fence": 0,
        "woken_at": now,
        "traceparent": traceparent,
        "tags": request.tags,
        "metadata": request.metadata,
    }


def _insert(context: Context, connection: Connection, row: Mapping[str, Any]) -> None:
    if queries.count_queued(connection) >= context.settings.max_queued_fits:
        raise QueueFull("too many fits wait already; try again later")
    queries.insert_fits(connection, [row])


def _wake(context: Context, ids: Sequence[str]) -> None:
    """Send for workers; where that fails the sweeper does it later, for the rows are there."""
    try:
        for fit_id in ids:
            context.queue.fit(fit_id)
    except BROKER_ERRORS as error:
        log.warning("wake_up_failed", error=str(error), fits=len(ids))
        with context.database.write() as connection:
            queries.mark_woken(connection, ids, None)


def _announce_end(context: Context, fit_id: str, status: str, stop_reason: str) -> None:
    """Tell whoever waits; where that fails they find the end in the database."""
    try:
        context.events.publish(fit_id, "end", {"status": status, "stop_reason": stop_reason})
    except BROKER_ERRORS as error:
        log.warning("event_failed", error=str(error), fit_id=fit_id)


def get_fit(context: Context, fit_id: str, owner: str) -> dict[str, Any]:
    """The fit as clients see it; raises NotFound and Gone."""
    with context.database.read() as connection:
        row = queries.find_fit(connection, fit_id, owner)
    if row is None:
        raise NotFound(f"there is no fit {fit_id!r}")
    if row.deleted_at is not None or has_expired(row, time.time()):
        raise Gone(f"the fit {fit_id} has been deleted or has expired")
    return fit_body(row._asdict())


def get_fits(context: Context, ids: Sequence[str], owner: str) -> list[dict[str, Any]]:
    """The fits of these ids, in their order; raises NotFound for the first that is not there."""
    with context.database.read() as connection:
        rows = queries.find_fits(connection, ids, owner)
    now = time.time()
    found = {r.id: r for r in rows if r.deleted_at is None and not has_expired(r, now)}
    for fit_id in ids:
        if fit_id not in found:
            raise NotFound(f"there is no fit {fit_id!r}")
    return [fit_body(found[fit_id]._asdict()) for fit_id in ids]


def fit_row(context: Context, fit_id: str) -> dict[str, Any]:
    """A fit as the database has it beside its dataset's facts, whoever owns it, for the workers.

    Raises NotFound.
    """
    with context.database.read() as connection:
        row = queries.find_fit(connection, fit_id)
    if row is None:
        raise NotFound(f"there is no fit {fit_id!r}")
    return row._asdict()


def list_fits(context: Context, query: ListQuery, owner: str) -> Page:
    """The owner's fits, newest first."""
    with context.database.read() as connection:
        rows, more = queries.page_of_fits(connection, query, owner, time.time())
    return Page([fit_body(row._asdict()) for row in rows], rows[-1].id if more else None)


def delete_fit(context: Context, fit_id: str, owner: str) -> None:
    """Forget an ended fit; raises NotFound, Gone, and Conflict before its end."""
    get_fit(context, fit_id, owner)
    with context.database.write() as connection:
        if not queries.mark_fit_deleted(connection, fit_id, time.time()):
            raise Conflict(f"the fit {fit_id} has not ended")
    context.storage.delete_below(f"fits/{fit_id}")


def claim(context: Context, fit_id: str, worker: str) -> Claim | None:
    """Take a waiting fit; None where it is another's, ended or gone."""
    with context.database.write() as connection:
        row = queries.claim(
            connection,
            fit_id,
            worker=worker,
            now=time.time(),
            lease_seconds=context.settings.lease_seconds,
        )
    if row is None:
        return None
    return Claim(
        fit_id=row.id,
        fence=row.fence,
        attempt=row.attempt,
        spec=row.spec,
        dataset_digest=row.digest,
        columns=row.columns,
        n_rows=row.n_rows,
        storage_key=row.storage_key,
        created_at=row.created_at,
        started_at=row.started_at,
        traceparent=row.traceparent,
    )


def renew(context: Context, claim: Claim, progress: Mapping[str, Any] | None) -> bool:
    """Hold the lease longer and show the progress; False where the claim is lost."""
    with context.database.write() as connection:
        return queries.renew(
            connection,
            claim.fit_id,
            claim.fence,
            lease_expires_at=time.time() + context.settings.lease_seconds,
            progress=progress,
        )


def finish(
    context: Context,
    claim: Claim,
    *,
    status: Outcome,
    stop_reason: str,
    result: Mapping[str, Any] | None,
    error: Mapping[str, Any] | None = None,
    artifacts: Sequence[Mapping[str, Any]] = (),
) -> bool:
    """End the fit with all that belongs to it, then tell; False where the claim is lost."""
    now = time.time()
    values = {
        "status": status,
        "stop_reason": stop_reason,
        "finished_at": now,
        "expires_at": expiry(context, now),
        "result": result,
        "error": error,
    }
    with context.database.write() as connection:
        done = queries.finish(connection, claim.fit_id, claim.fence, values, artifacts)
    if done:
        _announce_end(context, claim.fit_id, status, stop_reason)
    return done


def requeue(context: Context, claim: Claim) -> bool:
    """Give the fit back unfinished, without a lost attempt; False where the claim is lost."""
    with context.database.write() as connection:
        done = queries.requeue(connection, claim.fit_id, claim.fence, time.time())
    if done:
        _wake(context, [claim.fit_id])
    return done


def sweep(context: Context, now: float) -> None:
    """Take back what lost workers held, and send lost wake-ups again.

    Any number of sweepers may run at once: each step is one compare-and-set.
    """
    most = context.settings.max_attempts
    lost = {
        "code": "worker_lost",
        "category": "server",
        "message": f"{most} workers were lost while they computed this fit",
    }
    with context.database.write() as connection:
        ended = queries.fail_expired(connection, now=now, max_attempts=most, error=lost)
        taken = queries.take_back_expired(connection, now=now, max_attempts=most)
    for fit_id in ended:
        log.error("worker_lost", fit_id=fit_id)
        _announce_end(context, fit_id, "failed", "error")
    if taken:
        log.warning("leases_expired", fits=taken)
        _wake(context, taken)
    _wake_again(context, now)


def _wake_again(context: Context, now: float) -> None:
    before = now - _LOST_AFTER_SECONDS
    with context.database.read() as connection:
        if not queries.unwoken(connection, before=before, limit=1):
            return
    waiting = context.queue.undelivered_fits()
    with context.database.read() as connection:
        stale = queries.unwoken(connection, before=before, limit=waiting + _SWEPT_AT_ONCE)
    # The broker still has `waiting` wake-ups; only what goes beyond them can be lost.
    lost = stale[: max(0, len(stale) - waiting)]
    if not lost:
        return
    with context.database.write() as connection:
        queries.mark_woken(connection, lost, now)
    log.info("wake_ups_sent_again", fits=len(lost))
    _wake(context, lost)
