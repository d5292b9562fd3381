"""The life of a fit: claim, renew, finish, cancel, requeue, expire.

    queued ──claim──▶ running ──finish──▶ succeeded | failed
      ▲ │                │ │
      │ └────cancel──────┼─┴─▶ cancelling ──▶ cancelled
      └──requeue, lease──┘

A job of another kind has the same life. The database alone decides. Every step is committed before
anyone is told, and whoever was not told finds out from the database.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import structlog

from service.callers import Caller
from service.context import Context
from service.database import Connection, claiming, life
from service.database.batches import end_batches, overdue_batches
from service.database.fits import insert_artifacts
from service.database.keys import limits_of_owners
from service.digests import spec_digest
from service.errors import Conflict
from service.fits import find_row
from service.keys import OPEN_OWNER
from service.kinds import FIT, Kind
from service.metrics import LEASES_LOST
from service.retention import expiry
from service.scores import score
from service.waking import announce_ends, tell_status, wake, wake_again
from service.webhooks import Ended, owe

log = structlog.get_logger(__name__)

# A wake-up that has had this long to arrive, and that the broker no longer has, is lost.
_LOST_AFTER_SECONDS = 5.0

# So far apart the clocks of a service's machines may be: what lies further ahead was written before
# a clock was set back, and must not be waited for.
_CLOCKS_APART_SECONDS = 60.0

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
    owner: str
    queue: str
    fence: int
    attempt: int
    spec: dict[str, Any]
    spec_digest: str
    dataset_digest: str
    columns: list[dict[str, Any]]
    n_rows: int
    storage_key: str
    validation: StoredDataset | None
    created_at: float
    started_at: float
    # The request that made it.
    caller: Caller
    # Where it is one of a batch: which, and by what the batch's best one is chosen.
    batch_id: str | None = None
    metric: str | None = None
    # Whether others of its owner wait until it has ended.
    bounded: bool = False

    @property
    def named(self) -> Mapping[str, Any]:
        """What every line of a log about the fit says."""
        fit = {"fit_id": self.fit_id, "kind": self.kind, "attempt": self.attempt}
        return {**fit, **self.caller.named}


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

    Owners who wait take turns, each within `max_owner_running_fits`. Where more wait, another
    worker is sent for.
    """
    # A claim that a loss of power undoes was of a process that is gone with it.
    with context.database.write(flushed=False) as connection:
        claimed = claiming.claim_waiting(
            connection,
            queue,
            worker=worker,
            now=time.time(),
            lease_seconds=context.settings.lease_seconds,
            bounds=partial(_most_running, context),
        )
    if claimed.more:
        wake(context, [queue])
    # The first start stands in the row.
    tell_status(context, "running", {r.id: r.fence for r in claimed.rows if r.fence > 1})
    return [_claim(row, bounded=claimed.bounded) for row in claimed.rows]


def _most_running(
    context: Context, connection: Connection, owners: Sequence[str]
) -> dict[str, int]:
    """The lowest bound of each owner, where there is one: the settings' or a key's."""
    general = context.settings.max_owner_running_fits
    bounds = {} if general is None else dict.fromkeys(owners, general)
    if list(owners) == [OPEN_OWNER]:
        return bounds
    for owner, limits in limits_of_owners(connection, owners):
        own = limits.get("max_owner_running_fits")
        if own is not None:
            bounds[owner] = min(own, bounds.get(owner, own))
    return bounds


def _claim(row: Any, *, bounded: bool) -> Claim:
    validation = None
    if row.validation_dataset_id is not None:
        validation = StoredDataset(
            row.validation_columns, row.validation_n_rows, row.validation_storage_key
        )
    return Claim(
        fit_id=row.id,
        kind=row.kind,
        owner=row.owner,
        queue=row.queue,
        bounded=bounded,
        fence=row.fence,
        attempt=row.attempt,
        spec=row.spec,
        # Of what was queued before digests were kept there is none.
        spec_digest=row.spec_digest or spec_digest(row.spec),
        dataset_digest=row.digest,
        columns=row.columns,
        n_rows=row.n_rows,
        storage_key=row.storage_key,
        validation=validation,
        created_at=row.created_at,
        started_at=row.started_at,
        caller=Caller(request_id=row.request_id, traceparent=row.traceparent),
        batch_id=row.batch_id,
        metric=row.metric,
    )


def renew(context: Context, claim: Claim, progress: Mapping[str, Any] | None) -> str | None:
    """Hold the lease longer and show the progress, as `renew_all` does for several."""
    return renew_all(context, [(claim, progress)])[0]


def renew_all(
    context: Context, held: Sequence[tuple[Claim, Mapping[str, Any] | None]]
) -> list[str | None]:
    """Hold the leases longer and show the progress, by one write.

    Each fit's status, running or cancelling; None where the claim is lost.
    """
    lease_expires_at = time.time() + context.settings.lease_seconds
    with context.database.write(flushed=False) as connection:
        status = {
            (claim.fit_id, claim.fence): life.renew(
                connection,
                claim.fit_id,
                claim.fence,
                lease_expires_at=lease_expires_at,
                progress=progress,
            )
            for claim, progress in sorted(held, key=lambda one: one[0].fit_id)
        }
    return [status[claim.fit_id, claim.fence] for claim, _ in held]


def finish(context: Context, ends: Sequence[End]) -> list[bool]:
    """End the fits with all that belongs to them by one write, then tell.

    False for each claim that is lost. A fit that is being cancelled ends so, with what it has.
    """
    now = time.time()
    claims = [end.claim for end in ends]
    with context.database.write() as connection:
        done = life.finish(
            connection,
            [(end.claim.fit_id, end.claim.fence, _values(context, end, now)) for end in ends],
        )
        kept = [end for end, found in zip(ends, done, strict=True) if found is not None]
        artifacts = [row for end in kept for row in end.artifacts]
        if artifacts:
            insert_artifacts(connection, artifacts)
        over = _end_batches(context, connection, [end.claim.batch_id for end in kept], now)
        ended = [
            Ended(claim.fit_id, claim.kind, claim.owner, claim.spec, *found)
            for claim, found in zip(claims, done, strict=True)
            if found is not None
        ]
        owe(connection, ended, now)
    announce_ends(context, ended, over, {end.claim.fit_id: end.result for end in ends})
    wake(context, sorted({claim.queue for claim in claims if claim.bounded}))
    return [found is not None for found in done]


def _values(context: Context, end: End, now: float) -> dict[str, Any]:
    return {
        "status": end.status,
        "stop_reason": end.stop_reason,
        "finished_at": now,
        # One of a batch is kept as long as the batch, whose end says how long.
        "expires_at": expiry(context, now) if end.claim.batch_id is None else None,
        "result": end.result,
        "error": end.error,
        "score": score(end.result, end.claim.metric),
    }


def _end_batches(
    context: Context, connection: Connection, ids: Iterable[str | None], now: float
) -> list[str]:
    """Those of the batches that are over with the fits that have ended now."""
    batches = [batch_id for batch_id in dict.fromkeys(ids) if batch_id is not None]
    return end_batches(connection, batches, now=now, expires_at=expiry(context, now))


def cancel(context: Context, fit_id: str, owner: str, kind: Kind = FIT) -> dict[str, Any]:
    """End a waiting fit now, or have its worker end it; the fit as clients see it then.

    Raises NotFound, Gone, and Conflict where it has ended.
    """
    row = find_row(context, fit_id, owner, kind)
    now = time.time()
    ended = [Ended(fit_id, kind.name, owner, row["spec"], "cancelled", "cancelled")]
    with context.database.write() as connection:
        status = life.cancel(connection, fit_id, now=now, expires_at=expiry(context, now))
        over = []
        if status == "cancelled":
            owe(connection, ended, now)
            over = _end_batches(context, connection, [row["batch_id"]], now)
    if status == "cancelled":
        announce_ends(context, ended, over)
    elif status == "cancelling":
        tell_status(context, "cancelling", {fit_id: 0})
    row = find_row(context, fit_id, owner, kind)
    if status is None and row["status"] != "cancelling":
        raise Conflict(f"the {kind.noun} {fit_id} has ended already")
    return kind.body(row)


def requeue(context: Context, claim: Claim) -> bool:
    """Give the fit back unfinished, without a lost attempt; False where the claim is lost."""
    with context.database.write() as connection:
        done = life.requeue(connection, claim.fit_id, claim.fence, time.time())
    if done:
        tell_status(context, "queued", {claim.fit_id: claim.fence})
        wake(context, [claim.queue])
    return done


def holds_any(context: Context, workers: Sequence[str]) -> bool:
    """Whether one of the workers has a fit that has not ended."""
    with context.database.read() as connection:
        return life.holds_any(connection, workers)


def note_lost(context: Context, workers: Sequence[str], *, out_of_memory: bool) -> None:
    """Let the next sweep take back what these workers hold, for they are known to be dead.

    `out_of_memory` says whether the kernel has killed processes here for want of memory: a fit that
    has lost all its workers tells so if the last of them was lost like that.
    """
    error = _out_of_memory(context) if out_of_memory else None
    with context.database.write() as connection:
        n = life.let_expire(connection, workers, error)
    if n:
        log.warning("workers_lost", workers=[*workers], n_fits=n, out_of_memory=out_of_memory)


def _out_of_memory(context: Context) -> dict[str, Any]:
    most = context.settings.max_attempts
    return {
        "code": "out_of_memory",
        "category": "server",
        "message": f"{most} workers were lost while they computed this, the last of them when the "
        "kernel ended processes for want of memory",
        "hint": "give a smaller batch_size, a smaller model or fewer rows, or the workers more "
        "memory",
    }


def sweep(context: Context, now: float) -> None:
    """Take back what lost workers held, and send lost wake-ups again.

    Any number of sweepers may run at once: each step is one compare-and-set.
    """
    most = context.settings.max_attempts
    latest = now + context.settings.lease_seconds + _CLOCKS_APART_SECONDS
    lost = {
        "code": "worker_lost",
        "category": "server",
        "message": f"{most} workers were lost while they computed this",
    }
    expires_at = expiry(context, now)
    with context.database.write() as connection:
        ids = life.hold_expired(connection, now=now, latest=latest)
        failed = life.fail_expired(
            connection, ids, now=now, max_attempts=most, error=lost, expires_at=expires_at
        )
        taken = life.take_back_expired(connection, ids, now=now, max_attempts=most)
        cancelled = life.cancel_expired(connection, ids, now=now, expires_at=expires_at)
        ended = [
            *(_ended(row, "failed", "error") for row in failed),
            *(_ended(row, "cancelled", "cancelled") for row in cancelled),
        ]
        owe(connection, ended, now)
        over = _end_batches(context, connection, overdue_batches(connection), now)
    LEASES_LOST.inc(len(failed) + len(taken) + len(cancelled))
    for row in failed:
        log.error("worker_lost", fit_id=row.id)
    announce_ends(context, ended, over)
    if taken:
        log.warning("leases_expired", fits=[row.id for row in taken])
        # The next claim's: the lost worker may wake up, and has nothing more to tell.
        tell_status(context, "queued", {row.id: row.fence + 1 for row in taken})
        wake(context, [row.queue for row in taken])
    _wake_again(context, now)


def _ended(row: Any, status: str, stop_reason: str) -> Ended:
    return Ended(row.id, row.kind, row.owner, row.spec, status, stop_reason)


def _wake_again(context: Context, now: float) -> None:
    """Send for workers to the queues whose wake-ups were lost, or wait for workers to be free."""
    with context.database.read() as connection:
        queues = life.unwoken_queues(
            connection, before=now - _LOST_AFTER_SECONDS, latest=now + _CLOCKS_APART_SECONDS
        )
    for queue in queues:
        if context.queue.undelivered(queue):
            continue
        with context.database.write() as connection:
            life.mark_woken(connection, queue, now)
        log.info("wake_up_sent_again", queue=queue)
        wake_again(context, queue)
