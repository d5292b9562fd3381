"""The queries on fits beside those of their life: adding, finding, forgetting.

Jobs of every kind are rows here. What looks something up for an
owner gives one kind alone, and fits unless told otherwise.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Dialect, Row, bindparam, func, insert, select, update

from service.database.paging import page
from service.database.schema import artifacts, datasets, fits
from service.schemas.lists import ListQuery

WITH_DATASET = select(fits, datasets.c.digest, datasets.c.n_rows, datasets.c.storage_key).join_from(
    fits, datasets, fits.c.dataset_id == datasets.c.id
)

# Every fit passes through these: they are built once, for building costs more than running them.
_ONE = WITH_DATASET.where(fits.c.id == bindparam("fit_id"))
_ONE_OF_OWNER = _ONE.where(
    fits.c.owner == bindparam("its_owner"), fits.c.kind == bindparam("its_kind")
)
_N_QUEUED = select(func.count()).select_from(fits).where(fits.c.status == "queued")
_STATUS = select(fits.c.status).where(fits.c.id == bindparam("fit_id"))
_STATE = select(fits.c.status, fits.c.stop_reason, fits.c.started_at).where(
    fits.c.id == bindparam("fit_id")
)
_ENDED = fits.c.status.in_(("succeeded", "failed", "cancelled"))


def insert_fits(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add fits, all queued."""
    connection.execute(insert(fits), rows)


def insert_artifacts(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add artifacts of fits; rows have all columns, in types that drivers take as they are."""
    statement, parameters = _inserting_artifacts(connection.dialect)
    connection.exec_driver_sql(statement, [parameters(row) for row in rows])


@lru_cache(maxsize=2)
def _inserting_artifacts(dialect: Dialect) -> tuple[str, Callable[[Mapping[str, Any]], Any]]:
    """The driver's own statement, and what makes its parameters of a row.

    Each small fit leaves four: SQLAlchemy takes as long for their parameters as SQLite to add them.
    """
    compiled: Any = insert(artifacts).compile(dialect=dialect)
    return str(compiled), itemgetter(*compiled.positiontup) if compiled.positional else dict


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
        WITH_DATASET.where(
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


def count_queued(connection: Connection, owner: str | None = None) -> int:
    """How many fits wait for a worker, of one owner or of all."""
    asked = _N_QUEUED if owner is None else _N_QUEUED.where(fits.c.owner == owner)
    return connection.execute(asked).scalar_one()


def queued_by_queue(connection: Connection) -> Sequence[tuple[str, int, float]]:
    """Each queue in which something waits: how much, and since when."""
    found = (
        select(fits.c.queue, func.count(), func.min(fits.c.created_at))
        .where(fits.c.status == "queued")
        .group_by(fits.c.queue)
    )
    return [(row[0], row[1], row[2]) for row in connection.execute(found)]


def running_by_kind(connection: Connection) -> Sequence[tuple[str, int]]:
    """How many jobs of each kind workers hold."""
    found = (
        select(fits.c.kind, func.count())
        .where(fits.c.status.in_(("running", "cancelling")))
        .group_by(fits.c.kind)
    )
    return [(row[0], row[1]) for row in connection.execute(found)]


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
        WITH_DATASET.where(fits.c.id.in_(ids), fits.c.owner == owner, fits.c.kind == kind)
    ).fetchall()


def page_of_fits(
    connection: Connection,
    query: ListQuery,
    owner: str,
    now: float,
    kind: str = "fit",
    *,
    batch_id: str | None = None,
) -> tuple[Sequence[Row[Any]], bool]:
    """One page, newest first, and whether more follow; rows as `find_fit` gives them.

    Of one batch alone, where it is named.
    """
    among = [fits.c.kind == kind]
    if batch_id is not None:
        among.append(fits.c.batch_id == batch_id)
    found, more = page(connection, fits, query, owner, now, *among)
    ids = [row.id for row in found]
    by_id = {row.id: row for row in find_fits(connection, ids, owner, kind)}
    return [by_id[fit_id] for fit_id in ids], more


def unended_fits(connection: Connection, ids: Sequence[str]) -> set[str]:
    """Those of the fits that wait or run."""
    return set(connection.execute(select(fits.c.id).where(fits.c.id.in_(ids), ~_ENDED)).scalars())


def find_status(connection: Connection, fit_id: str) -> str | None:
    """The fit's status alone."""
    return connection.execute(_STATUS, {"fit_id": fit_id}).scalar()


def find_state(connection: Connection, fit_id: str) -> Row[Any, Any, Any] | None:
    """The fit's status, stop_reason and started_at alone."""
    return connection.execute(_STATE, {"fit_id": fit_id}).first()


def find_artifact(connection: Connection, fit_id: str, name: str) -> Row[Any] | None:
    """One artifact's row."""
    return connection.execute(
        select(artifacts).where(artifacts.c.fit_id == fit_id, artifacts.c.name == name)
    ).first()


@dataclass(frozen=True)
class Kept:
    """A fit that has not been forgotten: whether it has ended, and where its artifacts are."""

    ended: bool
    keys: set[str]


def keys_kept(connection: Connection, ids: Sequence[str]) -> dict[str, Kept]:
    """Those of the fits that are there."""
    found = connection.execute(
        select(fits.c.id, _ENDED.label("ended"), artifacts.c.storage_key)
        .join_from(fits, artifacts, fits.c.id == artifacts.c.fit_id, isouter=True)
        .where(fits.c.id.in_(ids), fits.c.deleted_at.is_(None))
    )
    kept: dict[str, Kept] = {}
    for row in found:
        kept.setdefault(row.id, Kept(row.ended, set())).keys.add(row.storage_key)
    return kept


def expire_fits(connection: Connection, *, now: float, limit: int) -> list[str]:
    """Forget ended fits that have expired; their ids."""
    due = (
        select(fits.c.id)
        .where(fits.c.expires_at < now, fits.c.deleted_at.is_(None), _ENDED)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    ids = list(connection.execute(due).scalars())
    return [fit_id for fit_id in ids if mark_fit_deleted(connection, fit_id, now)]


def mark_fit_deleted(connection: Connection, fit_id: str, now: float) -> bool:
    """Leave an ended fit's row as a tombstone, without its artifacts; False where it runs on."""
    done = connection.execute(
        update(fits)
        .where(fits.c.id == fit_id, fits.c.deleted_at.is_(None), _ENDED)
        .values(deleted_at=now, result=None, score=None)
    )
    if done.rowcount == 1:
        connection.execute(artifacts.delete().where(artifacts.c.fit_id == fit_id))
    return done.rowcount == 1
