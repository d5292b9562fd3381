"""The life of a fit: claim, renew, finish, cancel, requeue, expire.

    queued ──claim──▶ running ──finish──▶ succeeded | failed
      ▲ │                │ │
      │ └────cancel──────┼─┴─▶ cancelling ──▶ cancelled
      └──requeue, lease──┘

A job of another kind has the same life. The database alone decides. Every step is committed before
anyone is told, and whoever was not told finds out from the database.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import structlog

from service.context import Context
from service.database import fits as queries
from service.errors import Conflict
from service.fits import find_row
from service.kinds import FIT, Kind
from service.retention import expiry
from service.waking import announce_end, wake

log = structlog.get_logger(__name__)

# A wake-up that has had this long to arrive, and that the broker no longer has, is lost.
_LOST_AFTER_SECONDS = 5.0
_SWEPT_AT_ONCE = 1000

Outcome = Literal["succeeded", "failed", "cancelled"]


@dataclass(frozen=True)
class StoredDataset:
    """Where a dataset's table is, and what it looks like."""

    columns: list[dict[str, Any]]
    n_rows: int
    storage_key: str


@dataclass(frozen=True)
class Claim:
    """A worker's hold on one fit; `fence` proves it with every write."""

    fit_id: str
    kind: str
    fence: int
    attempt: int
    spec: dict[str, Any]
    dataset_digest: str
    columns: list[dict[str, Any]]
    n_rows: int
    storage_key: str
    validation: StoredDataset | None
    created_at: float
    started_at: float
    traceparent: str | None


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
        kind=row.kind,
        fence=row.fence,
        attempt=row.attempt,
        spec=row.spec,
        dataset_digest=row.digest,
        columns=row.columns,
        n_rows=row.n_rows,
        storage_key=row.storage_key,
        validation=None
        if row.validation_dataset_id is None
        else StoredDataset(
            row.validation_columns, row.validation_n_rows, row.validation_storage_key
        ),
        created_at=row.created_at,
        started_at=row.started_at,
        traceparent=row.traceparent,
    )


def renew(context: Context, claim: Claim, progress: Mapping[str, Any] | None) -> str | None:
    """Hold the lease longer and show the progress.

    The fit's status, running or cancelling; None where the claim is lost.
    """
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
    """End the fit with all that belongs to it, then tell; False where the claim is lost.

    A fit that is being cancelled ends as cancelled, with what it has.
    """
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
    if done is not None:
        announce_end(context, claim.fit_id, *done)
    return done is not None


def cancel(context: Context, fit_id: str, owner: str, kind: Kind = FIT) -> dict[str, Any]:
    """End a waiting fit now, or have its worker end it; the fit as clients see it then.

    Raises NotFound, Gone, and Conflict where it has ended.
    """
    find_row(context, fit_id, owner, kind)
    now = time.time()
    with context.database.write() as connection:
        ended = queries.cancel_waiting(connection, fit_id, now=now, expires_at=expiry(context, now))
        if not ended and not queries.ask_to_cancel(connection, fit_id):
            raise Conflict(f"the {kind.noun} {fit_id} has ended already")
    if ended:
        announce_end(context, fit_id, "cancelled", "cancelled")
    return kind.body(find_row(context, fit_id, owner, kind))


def requeue(context: Context, claim: Claim) -> bool:
    """Give the fit back unfinished, without a lost attempt; False where the claim is lost."""
    with context.database.write() as connection:
        done = queries.requeue(connection, claim.fit_id, claim.fence, time.time())
    if done:
        wake(context, [claim.fit_id])
    return done


def sweep(context: Context, now: float) -> None:
    """Take back what lost workers held, and send lost wake-ups again.

    Any number of sweepers may run at once: each step is one compare-and-set.
    """
    most = context.settings.max_attempts
    lost = {
        "code": "worker_lost",
        "category": "server",
        "message": f"{most} workers were lost while they computed this",
    }
    with context.database.write() as connection:
        ended = queries.fail_expired(connection, now=now, max_attempts=most, error=lost)
        taken = queries.take_back_expired(connection, now=now, max_attempts=most)
        cancelled = queries.cancel_expired(connection, now=now, expires_at=expiry(context, now))
    for fit_id in ended:
        log.error("worker_lost", fit_id=fit_id)
        announce_end(context, fit_id, "failed", "error")
    for fit_id in cancelled:
        announce_end(context, fit_id, "cancelled", "cancelled")
    if taken:
        log.warning("leases_expired", fits=taken)
        wake(context, taken)
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
    wake(context, lost)
