"""Whose fits are claimed next: owners take turns, each within what they may have running."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, func, select, text

from service.database.owners import hold_owners
from service.database.schema import fits, turns

# The most fits that each of the owners may have running, of those who have such a bound.
Bounds = Callable[[Connection, Sequence[str]], Mapping[str, int]]


def no_bounds(_: Connection, __: Sequence[str]) -> Mapping[str, int]:
    """Everybody may have as many running as workers take."""
    return {}


_QUEUED = (fits.c.status == "queued", fits.c.queue == bindparam("its_queue"))
# Each owner is found by one step into the index, however many fits the one before has waiting.
_OWNERS = select(func.min(fits.c.owner).label("owner")).where(*_QUEUED).cte(recursive=True)
_OWNERS = _OWNERS.union_all(
    select(
        select(func.min(fits.c.owner))
        .where(*_QUEUED, fits.c.owner > _OWNERS.c.owner)
        .scalar_subquery()
    ).where(_OWNERS.c.owner.is_not(None))
)
_WAITING_OWNERS = select(_OWNERS.c.owner).where(_OWNERS.c.owner.is_not(None))


# Both databases say it so, and SQLAlchemy says it for each of them alone.
_NOTE = text(
    "INSERT INTO turns (queue, owner, taken_at) VALUES (:queue, :owner, :taken_at) "
    "ON CONFLICT (queue, owner) DO UPDATE SET taken_at = excluded.taken_at"
)


class Turn(NamedTuple):
    """An owner, how many more fits of theirs may run, None where there is no bound, and the rest.

    `others` says whether other owners wait who may have theirs run.
    """

    owner: str
    room: int | None
    others: bool


def next_turn(connection: Connection, queue: str, bounds: Bounds, now: float) -> Turn | None:
    """The owner whose last turn in the queue was the longest ago; None where nobody may have one.

    The turn is noted where several owners wait: one alone has every turn anyway.
    """
    waiting = list(connection.execute(_WAITING_OWNERS, {"its_queue": queue}).scalars())
    if not waiting:
        return None
    room = _room(connection, waiting, bounds(connection, waiting))
    able = [owner for owner in waiting if room.get(owner, 1) > 0]
    if not able:
        return None
    owner = able[0]
    if len(waiting) > 1:
        taken = select(turns.c.owner, turns.c.taken_at).where(
            turns.c.queue == queue, turns.c.owner.in_(able)
        )
        had = {row.owner: row.taken_at for row in connection.execute(taken)}
        owner = min(able, key=lambda one: (had.get(one, 0.0), one))
        _note(connection, queue, owner, now)
    return Turn(owner, room.get(owner), len(able) > 1)


def _room(
    connection: Connection, owners: Sequence[str], bounds: Mapping[str, int]
) -> dict[str, int]:
    """How many more fits may run of each owner who has a bound."""
    if not bounds:
        return {}
    hold_owners(connection, bounds)
    counted = (
        select(fits.c.owner, func.count().label("n"))
        .where(fits.c.status.in_(("running", "cancelling")), fits.c.owner.in_(list(bounds)))
        .group_by(fits.c.owner)
    )
    running = {row.owner: row.n for row in connection.execute(counted)}
    return {owner: bounds[owner] - running.get(owner, 0) for owner in owners if owner in bounds}


def _note(connection: Connection, queue: str, owner: str, now: float) -> None:
    connection.execute(_NOTE, {"queue": queue, "owner": owner, "taken_at": now})
