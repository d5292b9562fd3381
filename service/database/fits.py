"""The queries on fits: reading, and the compare-and-set steps of their life.

Every step after the claim carries the fence that the claim gave, and returns False where the
fit has moved on: a worker that came back from the dead can change nothing.

Jobs of every kind are rows here and pass through the same steps. What looks something up for an
owner gives one kind alone, and fits unless told otherwise.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Update, bindparam, case, func, insert, select, update

from service.database.paging import page
from service.database.schema import artifacts, datasets, fits
from service.schemas.lists import ListQuery

_WITH_DATASET = select(
    fits, datasets.c.digest, datasets.c.n_rows, datasets.c.storage_key
).join_from(fits, datasets, fits.c.dataset_id == datasets.c.id)

# Every fit passes through these: they are built once, for building costs more than running them.
_ONE = _WITH_DATASET.where(fits.c.id == bindparam("fit_id"))
_ONE_OF_OWNER = _ONE.where(
    fits.c.owner == bindparam("its_owner"), fits.c.kind == bindparam("its_kind")
)
_validation = datasets.alias("validation")
_CLAIMED = _ONE.add_columns(
    datasets.c.columns,
    _validation.c.columns.label("validation_columns"),
    _validation.c.n_rows.label("validation_n_rows"),
    _validation.c.storage_key.label("validation_storage_key"),
).join(_validation, fits.c.validation_dataset_id == _validation.c.id, isouter=True)
_N_QUEUED = select(func.count()).select_from(fits).where(fits.c.status == "queued")
_STATUS = select(fits.c.status).where(fits.c.id == bindparam("fit_id"))
_CLAIM = (
    update(fits)
    .where(fits.c.id == bindparam("fit_id"), fits.c.status == "queued")
    .values(
        status="running",
        fence=fits.c.fence + 1,
        worker=bindparam("its_worker"),
        started_at=func.coalesce(fits.c.started_at, bindparam("now")),
        lease_expires_at=bindparam("lease_end"),
    )
)
_ENDED = fits.c.status.in_(("succeeded", "failed", "cancelled"))
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


def insert_fits(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add fits, all queued."""
    connection.execute(insert(fits), [dict(row) for row in rows])


def insert_artifacts(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add artifacts of fits."""
    connection.execute(insert(artifacts), [dict(row) for row in rows])


def find_same(
    connection: Connection,
    owner: str,
    *,
    spec_digest: str,
    dataset_digest: str,
    now: float,
    kind: str = "fit",
) -> Row[Any] | None:
    """The owner's newest success of an equal spec on an equal dataset, as `find_fit` gives it."""
    return connection.execute(
        _WITH_DATASET.where(
            fits.c.owner == owner,
            fits.c.kind == kind,
            fits.c.spec_digest == spec_digest,
            fits.c.status == "succeeded",
            fits.c.deleted_at.is_(None),
            func.coalesce(fits.c.expires_at, now) >= now,
            datasets.c.digest == dataset_digest,
        )
        .order_by(fits.c.id.desc())
        .limit(1)
    ).first()


def count_queued(connection: Connection) -> int:
    """How many fits wait for a worker."""
    return connection.execute(_N_QUEUED).scalar_one()


def find_fit(
    connection: Connection, fit_id: str, owner: str | None = None, kind: str = "fit"
) -> Row[Any] | None:
    """One fit, a deleted one too, beside its dataset's facts.

    Without an owner whoever's it is, and of whatever kind.
    """
    if owner is None:
        return connection.execute(_ONE, {"fit_id": fit_id}).first()
    given = {"fit_id": fit_id, "its_owner": owner, "its_kind": kind}
    return connection.execute(_ONE_OF_OWNER, given).first()


def find_fits(
    connection: Connection, ids: Sequence[str], owner: str, kind: str = "fit"
) -> Sequence[Row[Any]]:
    """The owner's fits of these ids in any order, deleted ones too, as `find_fit` gives them."""
    return connection.execute(
        _WITH_DATASET.where(fits.c.id.in_(ids), fits.c.owner == owner, fits.c.kind == kind)
    ).fetchall()


def page_of_fits(
    connection: Connection, query: ListQuery, owner: str, now: float, kind: str = "fit"
) -> tuple[Sequence[Row[Any]], bool]:
    """One page, newest first, and whether more follow; rows as `find_fit` gives them."""
    found, more = page(connection, fits, query, owner, now, kind=kind)
    ids = [row.id for row in found]
    by_id = {row.id: row for row in find_fits(connection, ids, owner, kind)}
    return [by_id[fit_id] for fit_id in ids], more


def find_status(connection: Connection, fit_id: str) -> str | None:
    """The fit's status alone."""
    return connection.execute(_STATUS, {"fit_id": fit_id}).scalar()


def claim(
    connection: Connection, fit_id: str, *, worker: str, now: float, lease_seconds: float
) -> Row[Any] | None:
    """Take the fit if it still waits; its row with its dataset's columns, or None."""
    taken = connection.execute(
        _CLAIM,
        {"fit_id": fit_id, "its_worker": worker, "now": now, "lease_end": now + lease_seconds},
    )
    if taken.rowcount != 1:
        return None
    return connection.execute(_CLAIMED, {"fit_id": fit_id}).one()


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
        status="queued", lease_expires_at=None, worker=None, woken_at=now, progress=None
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
            .order_by(fits.c.created_at, fits.c.id)
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


def expire_fits(connection: Connection, *, now: float, limit: int) -> list[str]:
    """Forget ended fits that have expired; their ids."""
    due = (
        select(fits.c.id)
        .where(fits.c.expires_at < now, fits.c.deleted_at.is_(None), _ENDED)
        .limit(limit)
    )
    ids = list(connection.execute(due).scalars())
    return [fit_id for fit_id in ids if mark_fit_deleted(connection, fit_id, now)]


def mark_fit_deleted(connection: Connection, fit_id: str, now: float) -> bool:
    """Leave an ended fit's row as a tombstone, without its artifacts; False where it runs on."""
    done = connection.execute(
        update(fits)
        .where(fits.c.id == fit_id, fits.c.deleted_at.is_(None), _ENDED)
        .values(deleted_at=now, result=None)
    )
    if done.rowcount == 1:
        connection.execute(artifacts.delete().where(artifacts.c.fit_id == fit_id))
    return done.rowcount == 1
