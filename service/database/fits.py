"""The queries on fits: reading, and the compare-and-set steps of their life.

Every step after the claim carries the fence that the claim gave, and returns False where the
fit has moved on: a worker that came back from the dead can change nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Update, func, insert, select, update

from service.database.paging import page
from service.database.schema import artifacts, datasets, fits
from service.schemas.lists import ListQuery

_WITH_DATASET = select(
    fits, datasets.c.digest, datasets.c.n_rows, datasets.c.storage_key
).join_from(fits, datasets)


def insert_fits(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add fits, all queued."""
    connection.execute(insert(fits), [dict(row) for row in rows])


def count_queued(connection: Connection) -> int:
    """How many fits wait for a worker."""
    return connection.execute(
        select(func.count()).select_from(fits).where(fits.c.status == "queued")
    ).scalar_one()


def find_fits(connection: Connection, ids: Sequence[str], owner: str) -> Sequence[Row[Any]]:
    """The owner's fits of these ids in any order, deleted ones too, beside their dataset's facts."""
    return connection.execute(
        _WITH_DATASET.where(fits.c.id.in_(ids), fits.c.owner == owner)
    ).fetchall()


def find_fit(connection: Connection, fit_id: str) -> Row[Any]:
    """One fit whoever owns it, for the workers; raises NoResultFound."""
    return connection.execute(_WITH_DATASET.where(fits.c.id == fit_id)).one()


def page_of_fits(
    connection: Connection, query: ListQuery, owner: str
) -> tuple[Sequence[Row[Any]], bool]:
    """One page, newest first, and whether more follow; rows as `find_fits` gives them."""
    found, more = page(connection, fits, query, owner)
    ids = [row.id for row in found]
    by_id = {row.id: row for row in find_fits(connection, ids, owner)}
    return [by_id[fit_id] for fit_id in ids], more


def find_status(connection: Connection, fit_id: str) -> str | None:
    """The fit's status alone."""
    return connection.execute(select(fits.c.status).where(fits.c.id == fit_id)).scalar()


def claim(
    connection: Connection, fit_id: str, *, worker: str, now: float, lease_seconds: float
) -> Row[Any] | None:
    """Take the fit if it still waits; the row as `find_fits` gives it, or None."""
    taken = connection.execute(
        update(fits)
        .where(fits.c.id == fit_id, fits.c.status == "queued")
        .values(
            status="running",
            fence=fits.c.fence + 1,
            worker=worker,
            started_at=func.coalesce(fits.c.started_at, now),
            lease_expires_at=now + lease_seconds,
        )
    )
    if taken.rowcount != 1:
        return None
    return connection.execute(_WITH_DATASET.where(fits.c.id == fit_id)).one()


def renew(
    connection: Connection,
    fit_id: str,
    fence: int,
    *,
    lease_expires_at: float,
    progress: Mapping[str, Any] | None,
) -> bool:
    """Hold the lease longer."""
    step = _held(fit_id, fence).values(lease_expires_at=lease_expires_at, progress=progress)
    return connection.execute(step).rowcount == 1


def finish(
    connection: Connection,
    fit_id: str,
    fence: int,
    values: Mapping[str, Any],
    artifact_rows: Sequence[Mapping[str, Any]],
) -> bool:
    """Write a terminal status with all that belongs to it."""
    step = _held(fit_id, fence).values(**values, lease_expires_at=None, progress=None)
    if connection.execute(step).rowcount != 1:
        return False
    if artifact_rows:
        connection.execute(insert(artifacts), [dict(row, fit_id=fit_id) for row in artifact_rows])
    return True


def requeue(connection: Connection, fit_id: str, fence: int, now: float) -> bool:
    """Give the fit back; its attempt stays, for no worker was lost."""
    step = _held(fit_id, fence).values(
        status="queued", lease_expires_at=None, worker=None, woken_at=now, progress=None
    )
    return connection.execute(step).rowcount == 1


def _held(fit_id: str, fence: int) -> Update:
    return update(fits).where(
        fits.c.id == fit_id,
        fits.c.fence == fence,
        fits.c.status.in_(("running", "cancelling")),
    )


def take_back_expired(connection: Connection, *, now: float, max_attempts: int) -> list[str]:
    """Queue again what a lost worker held, one attempt later; the ids."""
    return list(
        connection.execute(
            _expired(now)
            .where(fits.c.attempt < max_attempts)
            .values(
                status="queued",
                attempt=fits.c.attempt + 1,
                lease_expires_at=None,
                worker=None,
                woken_at=now,
                progress=None,
            )
            .returning(fits.c.id)
        ).scalars()
    )


def fail_expired(
    connection: Connection, *, now: float, max_attempts: int, error: Mapping[str, Any]
) -> list[str]:
    """End what has lost `max_attempts` workers; the ids."""
    return list(
        connection.execute(
            _expired(now)
            .where(fits.c.attempt >= max_attempts)
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


def unwoken(connection: Connection, *, before: float, limit: int) -> list[str]:
    """The oldest waiting fits for which nobody was sent since `before`."""
    return list(
        connection.execute(
            select(fits.c.id)
            .where(
                fits.c.status == "queued",
                func.coalesce(fits.c.woken_at, 0.0) < before,
            )
            .order_by(fits.c.id)
            .limit(limit)
        ).scalars()
    )


def mark_woken(connection: Connection, ids: Sequence[str], now: float | None) -> None:
    """Note when a worker was sent for; None: nobody was."""
    connection.execute(
        update(fits).where(fits.c.id.in_(ids), fits.c.status == "queued").values(woken_at=now)
    )


def find_artifact(connection: Connection, fit_id: str, name: str) -> Row[Any] | None:
    """One artifact's row."""
    return connection.execute(
        select(artifacts).where(artifacts.c.fit_id == fit_id, artifacts.c.name == name)
    ).first()


def artifact_keys(connection: Connection, fit_id: str) -> list[str]:
    """Where the object store has the fit's artifacts."""
    rows = select(artifacts.c.storage_key).where(
        artifacts.c.fit_id == fit_id, artifacts.c.storage_key.is_not(None)
    )
    return [key for key in connection.execute(rows).scalars() if key is not None]


def mark_fit_deleted(connection: Connection, fit_id: str, now: float) -> bool:
    """Leave an ended fit's row as a tombstone; False where it has not ended."""
    done = connection.execute(
        update(fits)
        .where(fits.c.id == fit_id, fits.c.status.in_(("succeeded", "failed", "cancelled")))
        .values(deleted_at=now, result=None)
    )
    if done.rowcount == 1:
        connection.execute(artifacts.delete().where(artifacts.c.fit_id == fit_id))
    return done.rowcount == 1
