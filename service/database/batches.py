"""The queries on batches: many fits that were taken in by one call."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    bindparam,
    exists,
    func,
    insert,
    select,
    update,
)

from service.database.datasets import UNFINISHED
from service.database.paging import page
from service.database.schema import artifacts, batches, fits
from service.schemas.common import TERMINAL
from service.schemas.lists import ListQuery

_STATUSES = ("queued", "running", "succeeded", "failed", "cancelled")

# Each end of a fit passes through these: they are built once.
_ONE = select(batches).where(batches.c.id == bindparam("batch_id"))
_UNENDED = (
    select(fits.c.status)
    .where(fits.c.batch_id == bindparam("its_batch"), fits.c.status.in_(UNFINISHED))
    .limit(1)
)
_HOLD = (
    select(batches.c.id)
    .where(batches.c.id.in_(bindparam("ids", expanding=True)))
    .order_by(batches.c.id)
    .with_for_update(key_share=True)
)
_PAGE = (
    select(fits.c.id, fits.c.status, fits.c.stop_reason, fits.c.spec, fits.c.result, fits.c.error)
    .where(
        fits.c.batch_id == bindparam("its_batch"),
        fits.c.id > bindparam("after"),
        fits.c.deleted_at.is_(None),
    )
    .order_by(fits.c.id)
    .limit(bindparam("at_most"))
)


def _any_of_its_fits(*statuses: str) -> ColumnElement[bool]:
    """Whether a fit of the batch is in one of these states."""
    return exists().where(fits.c.batch_id == batches.c.id, fits.c.status.in_(statuses))


# Whether a batch is in a state, by the rule of `service.batches` for one whose fits are counted.
_ASKED_TO_END = batches.c.cancelled_at.is_not(None)
_LIVE = batches.c.finished_at.is_(None) & _any_of_its_fits(*UNFINISHED)
_OVER = batches.c.finished_at.is_not(None) | ~_any_of_its_fits(*UNFINISHED)
_BEGUN = _any_of_its_fits("running", "cancelling", *TERMINAL)
_CUT_SHORT = _ASKED_TO_END & _any_of_its_fits("cancelled")
_SUCCESSFUL = _any_of_its_fits("succeeded")
_IN_STATE: Mapping[str, ColumnElement[bool]] = {
    "queued": _LIVE & ~_ASKED_TO_END & ~_BEGUN,
    "running": _LIVE & ~_ASKED_TO_END & _BEGUN,
    "cancelling": _LIVE & _ASKED_TO_END,
    "succeeded": _OVER & ~_CUT_SHORT & _SUCCESSFUL,
    "failed": _OVER & ~_CUT_SHORT & ~_SUCCESSFUL & _any_of_its_fits("failed"),
    "cancelled": _OVER & (_CUT_SHORT | ~_any_of_its_fits("succeeded", "failed")),
}


def insert_batch(connection: Connection, row: Mapping[str, Any]) -> None:
    """Add one batch."""
    connection.execute(insert(batches), [dict(row)])


def find_batch(connection: Connection, batch_id: str) -> Row[Any] | None:
    """The batch, a deleted one too, whoever owns it."""
    return connection.execute(_ONE, {"batch_id": batch_id}).first()


def page_of_batches(
    connection: Connection, query: ListQuery, owner: str, now: float
) -> tuple[Sequence[Row[Any]], bool]:
    """One page, newest first, and whether more follow."""
    # It is no column: it follows from the fits.
    among = [] if query.status is None else [_IN_STATE[query.status]]
    return page(connection, batches, replace(query, status=None), owner, now, *among)


def count_fits(connection: Connection, ids: Sequence[str]) -> dict[str, dict[str, int]]:
    """How many of each batch's fits are in each state, all at one moment.

    One that is being cancelled is still running; a deleted one is in the state in which it ended.
    """
    counts = {batch_id: dict.fromkeys(_STATUSES, 0) for batch_id in ids}
    rows = connection.execute(
        select(fits.c.batch_id, fits.c.status, func.count())
        .where(fits.c.batch_id.in_(ids))
        .group_by(fits.c.batch_id, fits.c.status)
    )
    for batch_id, status, n in rows:
        counts[batch_id]["running" if status == "cancelling" else status] += n
    return counts


def has_unended(connection: Connection, batch_id: str) -> bool:
    """Whether a fit of the batch has not ended."""
    return connection.execute(_UNENDED, {"its_batch": batch_id}).first() is not None


def find_best(connection: Connection, batch_id: str, mode: str) -> Any | None:
    """The success with the least or largest score, the first of several: its `id` and `score`."""
    order = fits.c.score.asc() if mode == "min" else fits.c.score.desc()
    return connection.execute(
        select(fits.c.id, fits.c.score)
        .where(fits.c.batch_id == batch_id, fits.c.status == "succeeded", fits.c.score.is_not(None))
        .order_by(order, fits.c.id)
        .limit(1)
    ).first()


def end_batches(
    connection: Connection, ids: Sequence[str], *, now: float, expires_at: float | None
) -> list[str]:
    """Note the end of those of the batches whose every fit has ended; the ids of these.

    Their fits are kept as long as they are.
    """
    if not ids:
        return []
    # Two that end the last two fits at one moment must not each take the other for unended.
    connection.execute(_HOLD, {"ids": ids})
    due = [batch_id for batch_id in ids if not has_unended(connection, batch_id)]
    counts = count_fits(connection, due) if due else {}
    return [batch_id for batch_id in due if _end(connection, batch_id, counts, now, expires_at)]


def _end(
    connection: Connection,
    batch_id: str,
    counts: Mapping[str, Any],
    now: float,
    expires_at: float | None,
) -> bool:
    done = connection.execute(
        update(batches)
        .where(batches.c.id == batch_id, batches.c.finished_at.is_(None))
        .values(finished_at=now, expires_at=expires_at, counts=counts[batch_id])
    )
    if done.rowcount == 1 and expires_at is not None:
        members = select(fits.c.id).where(fits.c.batch_id == batch_id, fits.c.deleted_at.is_(None))
        # One that another one has locked is found when the batch expires.
        free = members.with_for_update(skip_locked=True)
        connection.execute(update(fits).where(fits.c.id.in_(free)).values(expires_at=expires_at))
    return done.rowcount == 1


def overdue_batches(connection: Connection) -> list[str]:
    """The batches whose end has not been noted, though every fit has ended."""
    unended = _any_of_its_fits(*UNFINISHED)
    over = select(batches.c.id).where(batches.c.finished_at.is_(None), ~unended)
    return list(connection.execute(over).scalars())


def batches_of(connection: Connection, fit_ids: Sequence[str]) -> list[str]:
    """The batches that the fits are of."""
    return list(
        connection.execute(
            select(fits.c.batch_id)
            .where(fits.c.id.in_(fit_ids), fits.c.batch_id.is_not(None))
            .distinct()
        ).scalars()
    )


def note_cancelled(connection: Connection, batch_id: str, now: float) -> None:
    """Note that the batch was asked to end; a client that follows is told of the first time."""
    connection.execute(
        update(batches)
        .where(batches.c.id == batch_id)
        .values(cancelled_at=func.coalesce(batches.c.cancelled_at, now))
    )


def page_of_results(
    connection: Connection, batch_id: str, *, after: str, at_most: int
) -> Sequence[Any]:
    """The batch's fits after that one in their order, what each came to among them."""
    given = {"its_batch": batch_id, "after": after, "at_most": at_most}
    return connection.execute(_PAGE, given).fetchall()


def mark_batch_deleted(connection: Connection, batch_id: str, now: float) -> list[str] | None:
    """Leave an ended batch and its fits as tombstones; None where it has not ended.

    The ids of those fits that have objects in the store.
    """
    # Everybody locks fits before their batch.
    locked = select(fits.c.id).where(fits.c.batch_id == batch_id).order_by(fits.c.id)
    connection.execute(locked.with_for_update())
    done = connection.execute(
        update(batches)
        .where(
            batches.c.id == batch_id,
            batches.c.deleted_at.is_(None),
            batches.c.finished_at.is_not(None),
        )
        .values(deleted_at=now)
    )
    if done.rowcount == 0:
        return None
    members = select(fits.c.id).where(fits.c.batch_id == batch_id)
    stored = select(artifacts.c.fit_id).where(
        artifacts.c.fit_id.in_(members), artifacts.c.storage_key.is_not(None)
    )
    ids = list(connection.execute(stored.distinct()).scalars())
    connection.execute(artifacts.delete().where(artifacts.c.fit_id.in_(members)))
    connection.execute(
        update(fits)
        .where(fits.c.batch_id == batch_id, fits.c.deleted_at.is_(None))
        .values(deleted_at=now, result=None, score=None)
    )
    return ids


def expire_batches(connection: Connection, *, now: float) -> None:
    """Forget batches that have expired, as their fits do."""
    late = (
        select(fits.c.id)
        .join_from(fits, batches, fits.c.batch_id == batches.c.id)
        .where(batches.c.expires_at < now, batches.c.deleted_at.is_(None))
        .where(fits.c.expires_at.is_(None), fits.c.deleted_at.is_(None))
    )
    connection.execute(update(fits).where(fits.c.id.in_(late)).values(expires_at=now))
    connection.execute(
        update(batches)
        .where(batches.c.expires_at < now, batches.c.deleted_at.is_(None))
        .values(deleted_at=now)
    )
