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
from service.database import Connection, life
from service.errors import Conflict
from service.fits import find_row
from service.kinds import FIT, Kind
from service.retention import expiry
from service.waking import announce_ends, wake

log = structlog.get_logger(__name__)

# A wake-up that has had this long to arrive, and that the broker no longer has, is lost.
_LOST_AFTER_SECONDS = 5.0

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
    queue: str
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


@dataclass(frozen=True)
class End:
    """How a claim ends: a terminal status with all that belongs to it."""

    claim: Claim
    status: Outcome
    stop_reason: str
    result: Mapping[str, Any] | None
    error: Mapping[str, Any] | None = None
    artifacts: Sequence[Mapping[str, Any]] = ()


def claim_waiting(context: Context, queue: str, worker: str) -> list[Claim]:
    """Take what waits first in the queue: several fits where they are short, none where none waits.

    Where more wait, another worker is sent for.
    """
    with context.database.write() as connection:
        rows, more = life.claim_waiting(
            connection,
            queue,
            worker=worker,
            now=time.time(),
            lease_seconds=context.settings.lease_seconds,
        )
    if more:
        wake(context, [queue])
    return [_claim(row) for row in rows]


def _claim(row: Any) -> Claim:
    validation = None
    if row.validation_dataset_id is not None:
        validation = StoredDataset(
            row.validation_columns, row.validation_n_rows, row.validation_storage_key
        )
    return Claim(
        fit_id=row.id,
        kind=row.kind,
        queue=row.queue,
        fence=row.fence,
        attempt=row.attempt,
        spec=row.spec,
        dataset_digest=row.digest,
        columns=row.columns,
        n_rows=row.n_rows,
        storage_key=row.storage_key,
        validation=validation,
        created_at=row.created_at,
        started_at=row.started_at,
        traceparent=row.traceparent,
    )


def renew(context: Context, claim: Claim, progress: Mapping[str, Any] | None) -> str | None:
    """Hold the lease longer and show the progress.

    The fit's status, running or cancelling; None where the claim is lost.
    """
    with context.database.write() as connection:
        return life.renew(
            connection,
            claim.fit_id,
            claim.fence,
            lease_expires_at=time.time() + context.settings.lease_seconds,
            progress=progress,
        )


def finish(context: Context, ends: Sequence[End]) -> list[bool]:
    """End the fits with all that belongs to them by one write, then tell.

    False for each claim that is lost. A fit that is being cancelled ends so, with what it has.
    """
    now = time.time()
    with context.database.write() as connection:
        done = [_finish(context, connection, end, now) for end in ends]
    ended = [
        (end.claim.fit_id, *found)
        for end, found in zip(ends, done, strict=True)
        if found is not None
    ]
    announce_ends(context, ended)
    return [found is not None for found in done]


def _finish(
    context: Context, connection: Connection, end: End, now: float
) -> tuple[str, str] | None:
    values = {
        "status": end.status,
        "stop_reason": end.stop_reason,
        "finished_at": now,
        "expires_at": expiry(context, now),
        "result": end.result,
        "error": end.error,
    }
    claim = end.claim
    return life.finish(connection, claim.fit_id, claim.fence, values, end.artifacts)


def cancel(context: Context, fit_id: str, owner: str, kind: Kind = FIT) -> dict[str, Any]:
    """End a waiting fit now, or have its worker end it; the fit as clients see it then.

    Raises NotFound, Gone, and Conflict where it has ended.
    """
    find_row(context, fit_id, owner, kind)
    now = time.time()
    with context.database.write() as connection:
        ended = life.cancel_waiting(connection, fit_id, now=now, expires_at=expiry(context, now))
        if not ended and not life.ask_to_cancel(connection, fit_id):
            raise Conflict(f"the {kind.noun} {fit_id} has ended already")
    if ended:
        announce_ends(context, [(fit_id, "cancelled", "cancelled")])
    return kind.body(find_row(context, fit_id, owner, kind))


def requeue(context: Context, claim: Claim) -> bool:
    """Give the fit back unfinished, without a lost attempt; False where the claim is lost."""
    with context.database.write() as connection:
        done = life.requeue(connection, claim.fit_id, claim.fence, time.time())
    if done:
        wake(context, [claim.queue])
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
        ended = life.fail_expired(connection, now=now, max_attempts=most, error=lost)
        taken = life.take_back_expired(connection, now=now, max_attempts=most)
        cancelled = life.cancel_expired(connection, now=now, expires_at=expiry(context, now))
    for fit_id in ended:
        log.error("worker_lost", fit_id=fit_id)
    announce_ends(
        context,
        [(fit_id, "failed", "error") for fit_id in ended]
        + [(fit_id, "cancelled", "cancelled") for fit_id in cancelled],
    )
    if taken:
        log.warning("leases_expired", fits=[fit_id for fit_id, _ in taken])
        wake(context, [queue for _, queue in taken])
    _wake_again(context, now)


def _wake_again(context: Context, now: float) -> None:
    """Send for workers to the queues whose wake-ups were lost, or wait for workers to be free."""
    with context.database.read() as connection:
        queues = life.unwoken_queues(connection, before=now - _LOST_AFTER_SECONDS)
    for queue in queues:
        if context.queue.undelivered(queue):
            continue
        with context.database.write() as connection:
            life.mark_woken(connection, queue, now)
        log.info("wake_up_sent_again", queue=queue)
        wake(context, [queue])
