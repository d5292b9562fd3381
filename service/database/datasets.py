"""The queries on datasets."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, insert, or_, select, update

from service.database.paging import page
from service.database.schema import artifacts, datasets, fits
from service.schemas.lists import ListQuery

UNFINISHED = ("queued", "running", "cancelling")
_MOST_AT_ONCE = 500

# Every fit passes through these: they are built once, for building costs more than running them.
_ONE_OF_OWNER = select(datasets).where(
    datasets.c.id == bindparam("dataset_id"), datasets.c.owner == bindparam("its_owner")
)
_CONTENT = (
    select(datasets.c.storage_key)
    .where(
        datasets.c.owner == bindparam("its_owner"),
        datasets.c.digest == bindparam("its_digest"),
        datasets.c.deleted_at.is_(None),
    )
    .order_by(datasets.c.id)
    .limit(1)
)
_HOLD_CONTENT = _CONTENT.with_for_update()
_HOLD = (
    select(datasets.c.deleted_at).where(datasets.c.id == bindparam("dataset_id")).with_for_update()
)


def insert_dataset(connection: Connection, row: Mapping[str, Any]) -> None:
    """Add one dataset."""
    connection.execute(insert(datasets), [dict(row)])


def find_dataset(connection: Connection, dataset_id: str, owner: str) -> Row[Any] | None:
    """The owner's dataset, a deleted one too."""
    return connection.execute(_ONE_OF_OWNER, {"dataset_id": dataset_id, "its_owner": owner}).first()


def find_columns(connection: Connection, dataset_id: str) -> list[dict[str, Any]]:
    """The dataset's columns as it sums them up, of a deleted one too."""
    found = select(datasets.c.columns).where(datasets.c.id == dataset_id)
    columns: list[dict[str, Any]] = connection.execute(found).scalar_one()
    return columns


def stored_bytes(connection: Connection, owner: str) -> int:
    """What the owner's datasets and artifacts take; equal content of datasets counts once."""
    kept = (
        select(datasets.c.storage_key, func.max(datasets.c.size_bytes).label("size_bytes"))
        .where(datasets.c.owner == owner, datasets.c.deleted_at.is_(None))
        .group_by(datasets.c.storage_key)
        .subquery()
    )
    of_fits = select(func.sum(artifacts.c.size_bytes)).join_from(
        artifacts, fits, artifacts.c.fit_id == fits.c.id
    )
    tables = connection.execute(select(func.sum(kept.c.size_bytes))).scalar() or 0
    made = connection.execute(of_fits.where(fits.c.owner == owner)).scalar() or 0
    return int(tables) + int(made)


def find_storage_key(connection: Connection, dataset_id: str) -> str:
    """Where the dataset's table is, or was if it has been deleted."""
    found = select(datasets.c.storage_key).where(datasets.c.id == dataset_id)
    key: str = connection.execute(found).scalar_one()
    return key


def hold_dataset(connection: Connection, dataset_id: str) -> bool:
    """Keep the dataset as it is until the transaction ends; False where it has been deleted.

    SQLite's writers wait for each other anyway.
    """
    return connection.execute(_HOLD, {"dataset_id": dataset_id}).scalar_one() is None


def hold_datasets(connection: Connection, ids: Sequence[str]) -> set[str]:
    """Those of the datasets that are there, kept as they are until the transaction ends."""
    found: set[str] = set()
    # In one order for everybody, so that no two wait for each other.
    ordered = sorted(ids)
    for first in range(0, len(ids), _MOST_AT_ONCE):
        some = ordered[first : first + _MOST_AT_ONCE]
        held = (
            select(datasets.c.id)
            .where(datasets.c.id.in_(some), datasets.c.deleted_at.is_(None))
            .order_by(datasets.c.id)
            .with_for_update()
        )
        found.update(connection.execute(held).scalars())
    return found


def has_content(connection: Connection, owner: str, digest: str) -> bool:
    """Whether the owner has a dataset of this digest."""
    given = {"its_owner": owner, "its_digest": digest}
    return connection.execute(_CONTENT, given).scalar() is not None


def hold_content(connection: Connection, owner: str, digest: str) -> str | None:
    """The storage key of the owner's content of this digest, kept until the transaction ends."""
    given = {"its_owner": owner, "its_digest": digest}
    return connection.execute(_HOLD_CONTENT, given).scalar()


def hold_datasets_of(connection: Connection, storage_key: str) -> None:
    """Keep every dataset of this content as it is until the transaction ends."""
    connection.execute(
        select(datasets.c.id)
        .where(datasets.c.storage_key == storage_key)
        .order_by(datasets.c.id)
        .with_for_update()
    )


def unused_keys(connection: Connection, storage_keys: Sequence[str]) -> list[str]:
    """Those of the keys that no dataset needs any more."""
    used = set(
        connection.execute(
            select(datasets.c.storage_key).where(
                datasets.c.storage_key.in_(storage_keys), datasets.c.deleted_at.is_(None)
            )
        ).scalars()
    )
    return [key for key in dict.fromkeys(storage_keys) if key not in used]


def page_of_datasets(
    connection: Connection, query: ListQuery, owner: str, now: float
) -> tuple[Sequence[Row[Any]], bool]:
    """One page, newest first, and whether more follow."""
    return page(connection, datasets, query, owner, now)


def count_unfinished_fits(connection: Connection, dataset_id: str) -> int:
    """How many fits still need the dataset."""
    return connection.execute(
        select(func.count())
        .select_from(fits)
        .where(
            or_(fits.c.dataset_id == dataset_id, fits.c.validation_dataset_id == dataset_id),
            fits.c.status.in_(UNFINISHED),
        )
    ).scalar_one()


def expire_datasets(connection: Connection, *, now: float, limit: int) -> list[str]:
    """Mark expired datasets that no unfinished fit needs as deleted.

    Gives the storage keys that no dataset needs any more.
    """
    unfinished = fits.c.status.in_(UNFINISHED)
    needed = select(fits.c.dataset_id).where(unfinished)
    validating = select(fits.c.validation_dataset_id).where(
        unfinished, fits.c.validation_dataset_id.is_not(None)
    )
    unneeded = (datasets.c.id.not_in(needed), datasets.c.id.not_in(validating))
    due = (
        select(datasets.c.id)
        .where(datasets.c.expires_at < now, datasets.c.deleted_at.is_(None), *unneeded)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    held = list(connection.execute(due).scalars())
    # Asked again now that nobody can come to need them: what a fit held meanwhile, it needs.
    keys = connection.execute(
        update(datasets)
        .where(datasets.c.id.in_(held), *unneeded)
        .values(deleted_at=now)
        .returning(datasets.c.storage_key)
    ).scalars()
    return unused_keys(connection, list(keys))


def mark_dataset_deleted(connection: Connection, dataset_id: str, now: float) -> None:
    """Leave the row as a tombstone, so that its id answers 410 from now on."""
    connection.execute(update(datasets).where(datasets.c.id == dataset_id).values(deleted_at=now))
