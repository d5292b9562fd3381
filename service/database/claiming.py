"""The query that gives a worker the fits that wait first.

It passes over those that others have locked: so no two workers ever wait for each other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, func, select, update

from service.database.schema import batches, datasets, fits
from service.database.turns import Bounds, next_turn, no_bounds

# Short fits are claimed together: for each alone the claim would cost more than the fit.
MOST_TOGETHER = 256
MOST_SECONDS_TOGETHER = 0.25

# Every fit passes through these: they are built once, for building costs more than running them.
_validation = datasets.alias("validation")
# What a claim holds and no more: to read all of a row takes longer than a small fit's first steps.
_CLAIMED_NAMES = (
    "id", "kind", "owner", "queue", "fence", "attempt", "spec", "spec_digest",
    "validation_dataset_id", "created_at", "started_at", "traceparent", "request_id", "batch_id",
)  # fmt: skip
_CLAIMED: Select[Any] = (
    select(
        *(fits.c[name] for name in _CLAIMED_NAMES),
        datasets.c.digest,
        datasets.c.n_rows,
        datasets.c.storage_key,
        datasets.c.columns,
        batches.c.metric,
        _validation.c.columns.label("validation_columns"),
        _validation.c.n_rows.label("validation_n_rows"),
        _validation.c.storage_key.label("validation_storage_key"),
    )
    .where(fits.c.id.in_(bindparam("ids", expanding=True)))
    .join_from(fits, datasets, fits.c.dataset_id == datasets.c.id)
    .join(_validation, fits.c.validation_dataset_id == _validation.c.id, isouter=True)
    .join(batches, fits.c.batch_id == batches.c.id, isouter=True)
)
_WAITING = (
    select(fits.c.id, fits.c.alone, fits.c.estimated_seconds)
    .where(
        fits.c.status == "queued",
        fits.c.queue == bindparam("its_queue"),
        fits.c.owner == bindparam("its_owner"),
    )
    .order_by(fits.c.priority.desc(), fits.c.created_at, fits.c.id)
    .limit(MOST_TOGETHER + 1)
    .with_for_update(skip_locked=True)
)


@dataclass(frozen=True)
class Claimed:
    """Fits that were taken, with their datasets' columns.

    `more` says whether others could be taken now, and `bounded` whether the owner of these may
    have only so many running: others wait until these have ended.
    """

    rows: Sequence[Row[Any]] = ()
    more: bool = False
    bounded: bool = False


def claim_waiting(
    connection: Connection,
    queue: str,
    *,
    worker: str,
    now: float,
    lease_seconds: float,
    bounds: Bounds = no_bounds,
) -> Claimed:
    """Take what waits first in the queue, of the owner whose turn it is.

    Several where they are short: so many that they take about MOST_SECONDS_TOGETHER. What was lost
    together with others is taken alone.
    """
    turn = next_turn(connection, queue, bounds, now)
    if turn is None:
        return Claimed()
    waiting = connection.execute(_WAITING, {"its_queue": queue, "its_owner": turn.owner}).fetchall()
    ids = _together(waiting)[: turn.room]
    if not ids:
        return Claimed(more=turn.others)
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
    # Of an owner with a bound the others come when these have ended.
    left = turn.room is None and len(waiting) > len(ids)
    return Claimed([rows[fit_id] for fit_id in ids], left or turn.others, turn.room is not None)


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
