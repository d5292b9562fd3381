"""The queries of a fit's life but the claim: each step is one compare-and-set.

Every step of a worker carries the fence that the claim gave, and returns False where the fit has
moved on: one that came back from the dead can change nothing. Jobs of every kind pass through the
same steps.

Whoever changes several fits locks them in the order of their ids first, or passes over those that
others have locked: so no two ever wait for each other.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    Update,
    bindparam,
    case,
    func,
    null,
    or_,
    select,
    type_coerce,
    update,
)

from service.database.schema import fits

# What one sweep takes back; what is left, the next one does.
_MOST_AT_ONCE = 10_000

_HELD = update(fits).where(
    fits.c.id == bindparam("fit_id"),
    fits.c.fence == bindparam("its_fence"),
    # Not by IN, which cannot be asked of many at once.
    or_(fits.c.status == "running", fits.c.status == "cancelling"),
)
_HELD_OF = (
    select(fits.c.id, fits.c.fence, fits.c.status)
    .where(
        fits.c.id.in_(bindparam("ids", expanding=True)),
        fits.c.status.in_(("running", "cancelling")),
    )
    .order_by(fits.c.id)
    .with_for_update()
)
_NAMED = (fits.c.id, fits.c.kind, fits.c.owner, fits.c.spec, fits.c.fence)
_CANCELLING = fits.c.status == "cancelling"
_CANCELLABLE = fits.c.status.in_(("queued", "running"))


def _if_waiting(value: Any, else_: Any) -> ColumnElement[Any]:
    return case((fits.c.status == "queued", value), else_=else_)


# By one statement: between two, a worker could give the fit back, and neither would find it.
_CANCEL = (
    update(fits)
    .where(_CANCELLABLE)
    .values(
        status=_if_waiting("cancelled", "cancelling"),
        stop_reason=_if_waiting("cancelled", fits.c.stop_reason),
        finished_at=_if_waiting(bindparam("new_finished_at"), fits.c.finished_at),
    )
)
_FINISH = _HELD.values(
    # Whatever its worker found, a fit that is being cancelled ends so.
    status=case((_CANCELLING, "cancelled"), else_=bindparam("new_status")),
    stop_reason=case((_CANCELLING, "cancelled"), else_=bindparam("new_stop_reason")),
    finished_at=bindparam("new_finished_at"),
    expires_at=bindparam("new_expires_at"),
    result=bindparam("new_result"),
    error=bindparam("new_error"),
    score=bindparam("new_score"),
    lease_expires_at=None,
    progress=None,
)


def renew(
    connection: Connection,
    fit_id: str,
    fence: int,
    *,
    lease_expires_at: float,
    progress: Mapping[str, Any] | None,
) -> str | None:
    """Hold the lease longer; the fit's status, None where the claim is lost."""
    step = _HELD.values(lease_expires_at=lease_expires_at, progress=progress)
    held = connection.execute(step.returning(fits.c.status), {"fit_id": fit_id, "its_fence": fence})
    return held.scalar()


def finish(
    connection: Connection, ends: Sequence[tuple[str, int, Mapping[str, Any]]]
) -> list[tuple[str, str] | None]:
    """Write the ends (fit id, fence, values); the status and stop_reason that each has now.

    `values`: status, stop_reason, finished_at, expires_at, result, error, score. None where the
    claim is lost.
    """
    ids = [fit_id for fit_id, _, _ in ends]
    held = {(row.id, row.fence): row.status for row in connection.execute(_HELD_OF, {"ids": ids})}
    done: list[tuple[str, str] | None] = []
    changes: list[dict[str, Any]] = []
    for fit_id, fence, values in ends:
        # What was there twice has ended the first time.
        status = held.pop((fit_id, fence), None)
        if status is None:
            done.append(None)
            continue
        new = {f"new_{name}": value for name, value in values.items()}
        changes.append({"fit_id": fit_id, "its_fence": fence, **new})
        cancelled = status == "cancelling"
        done.append(
            ("cancelled", "cancelled") if cancelled else (values["status"], values["stop_reason"])
        )
    if changes:
        connection.execute(_FINISH, changes)
    return done


def requeue(connection: Connection, fit_id: str, fence: int, now: float) -> bool:
    """Give the fit back; its attempt stays, for no worker was lost. One being cancelled stays."""
    step = _HELD.where(fits.c.status == "running").values(
        status="queued",
        grouped=False,
        lease_expires_at=None,
        worker=None,
        woken_at=now,
        progress=None,
    )
    return connection.execute(step, {"fit_id": fit_id, "its_fence": fence}).rowcount == 1


def cancel(
    connection: Connection, fit_id: str, *, now: float, expires_at: float | None
) -> str | None:
    """End a fit that waits, have the worker of a running one end it; its status from now on.

    None where it has ended or has been asked before.
    """
    kept_until = _if_waiting(_expiry(expires_at), fits.c.expires_at)
    step = _CANCEL.where(fits.c.id == fit_id).values(expires_at=kept_until)
    return connection.execute(step.returning(fits.c.status), {"new_finished_at": now}).scalar()


def cancel_all_of(connection: Connection, batch_id: str, now: float) -> Sequence[Row[Any]]:
    """Do so with every fit of the batch; what names each that was changed, and its status."""
    chosen = select(fits.c.id).where(fits.c.batch_id == batch_id, _CANCELLABLE)
    ids = list(connection.execute(chosen.order_by(fits.c.id).with_for_update()).scalars())
    if not ids:
        return []
    step = _CANCEL.where(fits.c.batch_id == batch_id)
    named = step.returning(*_NAMED, fits.c.status)
    return connection.execute(named, {"new_finished_at": now}).fetchall()


def hold_expired(connection: Connection, *, now: float, latest: float) -> list[str]:
    """Lock the fits whose lease is over, but for those that another one has locked; their ids.

    No clock that still goes can have set a lease that is over later than `latest`.
    """
    over = or_(fits.c.lease_expires_at < now, fits.c.lease_expires_at > latest)
    held = select(fits.c.id).where(or_(fits.c.status == "running", _CANCELLING), over)
    return list(
        connection.execute(
            held.order_by(fits.c.id).limit(_MOST_AT_ONCE).with_for_update(skip_locked=True)
        ).scalars()
    )


def cancel_expired(
    connection: Connection, ids: Sequence[str], *, now: float, expires_at: float | None
) -> Sequence[Row[Any]]:
    """End what was to be cancelled when its worker was lost; what names each, and its fence."""
    return connection.execute(
        update(fits)
        .where(_CANCELLING, fits.c.id.in_(ids))
        .values(
            status="cancelled",
            stop_reason="cancelled",
            finished_at=now,
            expires_at=_expiry(expires_at),
            lease_expires_at=None,
            progress=None,
            error=null(),
        )
        .returning(*_NAMED)
    ).fetchall()


def _held_by(workers: Sequence[str]) -> Select[str]:
    """The ids of the fits that these workers have."""
    return select(fits.c.id).where(
        or_(fits.c.status == "running", _CANCELLING), fits.c.worker.in_(workers)
    )


def holds_any(connection: Connection, workers: Sequence[str]) -> bool:
    """Whether one of the workers has a fit."""
    return connection.execute(_held_by(workers).limit(1)).first() is not None


def let_expire(
    connection: Connection, workers: Sequence[str], error: Mapping[str, Any] | None
) -> int:
    """End the leases that these workers hold; how many. `error` is why, where that is known."""
    theirs = _held_by(workers).where(fits.c.lease_expires_at > 0)
    ids = list(connection.execute(theirs.order_by(fits.c.id).with_for_update()).scalars())
    over = {"lease_expires_at": 0, "error": null() if error is None else dict(error)}
    return connection.execute(update(fits).where(fits.c.id.in_(ids)).values(over)).rowcount


def take_back_expired(
    connection: Connection, ids: Sequence[str], *, now: float, max_attempts: int
) -> Sequence[Row[Any]]:
    """Queue again what a lost worker held; the id, queue and fence of each.

    One attempt later, but for those that were claimed together: one of them may have cost the
    worker its life, and each is tried alone now.
    """
    return connection.execute(
        _running(ids)
        .where(or_(fits.c.grouped, fits.c.attempt < max_attempts))
        .values(
            status="queued",
            attempt=fits.c.attempt + case((fits.c.grouped, 0), else_=1),
            alone=or_(fits.c.alone, fits.c.grouped),
            grouped=False,
            lease_expires_at=None,
            worker=None,
            woken_at=now,
            progress=None,
            error=null(),
        )
        .returning(fits.c.id, fits.c.queue, fits.c.fence)
    ).fetchall()


def fail_expired(
    connection: Connection,
    ids: Sequence[str],
    *,
    now: float,
    max_attempts: int,
    error: Mapping[str, Any],
    expires_at: float | None,
) -> Sequence[Row[Any]]:
    """End what has lost `max_attempts` workers; what names each, and its fence."""
    return connection.execute(
        _running(ids)
        .where(fits.c.attempt >= max_attempts, fits.c.grouped.is_(False))
        .values(
            status="failed",
            stop_reason="error",
            finished_at=now,
            expires_at=_expiry(expires_at),
            lease_expires_at=None,
            progress=None,
            # It may be known why the last worker was lost.
            error=func.coalesce(fits.c.error, type_coerce(dict(error), fits.c.error.type)),
        )
        .returning(*_NAMED)
    ).fetchall()


def _expiry(expires_at: float | None) -> Any:
    """Of one of a batch none yet: it is kept as long as the batch, whose end says how long."""
    return None if expires_at is None else case((fits.c.batch_id.is_(None), expires_at))


def _running(ids: Sequence[str]) -> Update:
    return update(fits).where(fits.c.status == "running", fits.c.id.in_(ids))


def unwoken_queues(connection: Connection, *, before: float, latest: float) -> list[str]:
    """The queues in which a fit waits for which nobody was sent since `before`.

    What was noted as later than `latest` was noted by a clock that has been set back since.
    """
    woken_at = func.coalesce(fits.c.woken_at, 0.0)
    return list(
        connection.execute(
            select(fits.c.queue)
            .where(fits.c.status == "queued", or_(woken_at < before, woken_at > latest))
            .distinct()
        ).scalars()
    )


def mark_woken(connection: Connection, queue: str, now: float | None) -> None:
    """Note when a worker was last sent for to the queue; None: nobody was."""
    waiting = select(fits.c.id).where(fits.c.queue == queue, fits.c.status == "queued")
    # What is locked is being claimed or cancelled; what waits on, the next sweep finds.
    free = waiting.with_for_update(skip_locked=True)
    connection.execute(update(fits).where(fits.c.id.in_(free)).values(woken_at=now))
