"""The queries of a fit's life: each step is one compare-and-set.

Every step after the claim carries the fence that the claim gave, and returns False where the
fit has moved on: a worker that came back from the dead can change nothing. Jobs of every kind pass
through the same steps.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Update, bindparam, case, func, or_, select, update

from service.database.fits import WITH_DATASET, insert_artifacts
from service.database.schema import datasets, fits

# Short fits are claimed together: for each alone the claim would cost more than the fit.
MOST_TOGETHER = 64
MOST_SECONDS_TOGETHER = 0.25

# Every fit passes through these: they are built once, for building costs more than running them.
_validation = datasets.alias("validation")
_CLAIMED = (
    WITH_DATASET.where(fits.c.id.in_(bindparam("ids", expanding=True)))
    .add_columns(
        datasets.c.columns,
        _validation.c.columns.label("validation_columns"),
        _validation.c.n_rows.label("validation_n_rows"),
        _validation.c.storage_key.label("validation_storage_key"),
    )
    .join(_validation, fits.c.validation_dataset_id == _validation.c.id, isouter=True)
)
_WAITING = (
    select(fits.c.id, fits.c.alone, fits.c.estimated_seconds)
    .where(fits.c.status == "queued", fits.c.queue == bindparam("its_queue"))
    .order_by(fits.c.priority.desc(), fits.c.created_at, fits.c.id)
    .limit(MOST_TOGETHER + 1)
    .with_for_update(skip_locked=True)
)
_HELD = update(fits).where(
    fits.c.id == bindparam("fit_id"),
    fits.c.fence == bindparam("its_fence"),
    fits.c.status.in_(("running", "cancelling")),
)
_CANCELLING = fits.c.status == "cancelling"
_FINISH = _HELD.values(
    # Whatever its worker found, a fit that is being cancelled ends so.
    status=case((_CANCELLING, "cancelled"), else_=bindparam("new_status")),
    stop_reason=case((_CANCELLING, "cancelled"), else_=bindparam("new_stop_reason")),
    finished_at=bindparam("new_finished_at"),
    expires_at=bindparam("new_expires_at"),
    result=bindparam("new_result"),
    error=bindparam("new_error"),
    lease_expires_at=None,
    progress=None,
).returning(fits.c.status, fits.c.stop_reason)


def claim_waiting(
    connection: Connection, queue: str, *, worker: str, now: float, lease_seconds: float
) -> tuple[Sequence[Row[Any]], bool]:
    """Take what waits first in the queue, with its dataset's columns; and whether more waits.

    Several where they are short: so many that they take about MOST_SECONDS_TOGETHER. What was lost
    together with others is taken alone.
    """
    waiting = connection.execute(_WAITING, {"its_queue": queue}).fetchall()
    ids = _together(waiting)
    if not ids:
        return [], False
    connection.execute(
        update(fits)
        .where(fits.c.id.in_(ids))
        .values(
            status="running",
            fence=fits.c.fence + 1,
            worker=worker,
            started_at=func.coalesce(fits.c.started_at, now),
            lease_expires_at=now + lease_seconds,
            grouped=len(ids) > 1,
        )
    )
    rows = {row.id: row for row in connection.execute(_CLAIMED, {"ids": ids})}
    return [rows[fit_id] for fit_id in ids], len(waiting) > len(ids)


def _together(waiting: Sequence[Any]) -> list[str]:
    """The ids to claim at once, of rows in their order."""
    if not waiting or waiting[0].alone:
        return [row.id for row in waiting[:1]]
    seconds = 0.0
    ids: list[str] = []
    for row in waiting[:MOST_TOGETHER]:
        seconds += row.estimated_seconds
        if row.alone or (ids and seconds > MOST_SECONDS_TOGETHER):
            break
        ids.append(row.id)
    return ids


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
    connection: Connection,
    fit_id: str,
    fence: int,
    values: Mapping[str, Any],
    artifact_rows: Sequence[Mapping[str, Any]],
) -> tuple[str, str] | None:
    """Write a terminal status with all that belongs to it; the status and stop_reason it has now.

    `values`: status, stop_reason, finished_at, expires_at, result, error. None where the claim is
    lost.
    """
    changes = {f"new_{name}": value for name, value in values.items()}
    done = connection.execute(_FINISH, {"fit_id": fit_id, "its_fence": fence, **changes}).first()
    if done is None:
        return None
    if artifact_rows:
        insert_artifacts(connection, artifact_rows)
    return done.status, done.stop_reason


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


def cancel_waiting(
    connection: Connection, fit_id: str, *, now: float, expires_at: float | None
) -> bool:
    """End a fit that no worker has begun; False where it does not wait."""
    done = connection.execute(
        update(fits)
        .where(fits.c.id == fit_id, fits.c.status == "queued")
        .values(status="cancelled", stop_reason="cancelled", finished_at=now, expires_at=expires_at)
    )
    return done.rowcount == 1


def ask_to_cancel(connection: Connection, fit_id: str) -> bool:
    """Have the fit's worker end it; False where none has it."""
    done = connection.execute(
        update(fits)
        .where(fits.c.id == fit_id, fits.c.status.in_(("running", "cancelling")))
        .values(status="cancelling")
    )
    return done.rowcount == 1


def cancel_expired(connection: Connection, *, now: float, expires_at: float | None) -> list[str]:
    """End what was to be cancelled when its worker was lost; the ids."""
    return list(
        connection.execute(
            update(fits)
            .where(_CANCELLING, fits.c.lease_expires_at < now)
            .values(
                status="cancelled",
                stop_reason="cancelled",
                finished_at=now,
                expires_at=expires_at,
                lease_expires_at=None,
                progress=None,
            )
            .returning(fits.c.id)
        ).scalars()
    )


def take_back_expired(
    connection: Connection, *, now: float, max_attempts: int
) -> list[tuple[str, str]]:
    """Queue again what a lost worker held; the ids and queues.

    One attempt later, but for those that were claimed together: one of them may have cost the
    worker its life, and each is tried alone now.
    """
    rows = connection.execute(
        _expired(now)
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
        )
        .returning(fits.c.id, fits.c.queue)
    )
    return [(row.id, row.queue) for row in rows]


def fail_expired(
    connection: Connection, *, now: float, max_attempts: int, error: Mapping[str, Any]
) -> list[str]:
    """End what has lost `max_attempts` workers; the ids."""
    return list(
        connection.execute(
            _expired(now)
            .where(fits.c.attempt >= max_attempts, fits.c.grouped.is_(False))
            .values(
                status="failed",
                stop_reason="error",
                finished_at=now,
                lease_expires_at=None,
                progress=None,
                error=dict(error),
            )
            .returning(fits.c.id)
        ).scalars()
    )


def _expired(now: float) -> Update:
    return update(fits).where(fits.c.status == "running", fits.c.lease_expires_at < now)


def unwoken_queues(connection: Connection, *, before: float) -> list[str]:
    """The queues in which a fit waits for which nobody was sent since `before`."""
    return list(
        connection.execute(
            select(fits.c.queue)
            .where(fits.c.status == "queued", func.coalesce(fits.c.woken_at, 0.0) < before)
            .distinct()
        ).scalars()
    )


def mark_woken(connection: Connection, queue: str, now: float | None) -> None:
    """Note when a worker was last sent for to the queue; None: nobody was."""
    connection.execute(
        update(fits).where(fits.c.queue == queue, fits.c.status == "queued").values(woken_at=now)
    )
