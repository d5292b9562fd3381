"""The queries on messages that are to be delivered, and on addresses that want none."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import (
    Connection,
    Row,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from service.database.schema import deliveries, webhooks_off

_WAITING = deliveries.c.state == "waiting"
_IS_DUE = and_(_WAITING, deliveries.c.next_at <= bindparam("now"))
# Every sweep asks this: it is built once.
_ANY_DUE = select(exists().where(_IS_DUE))
# Each owner is found by one step into the index, however many messages of theirs wait.
_OWNERS = select(func.min(deliveries.c.owner).label("owner")).where(_WAITING).cte(recursive=True)
_OWNERS = _OWNERS.union_all(
    select(
        select(func.min(deliveries.c.owner))
        .where(_WAITING, deliveries.c.owner > _OWNERS.c.owner)
        .scalar_subquery()
    ).where(_OWNERS.c.owner.is_not(None))
)
_OWNERS_DUE = select(_OWNERS.c.owner).where(
    exists().where(_IS_DUE, deliveries.c.owner == _OWNERS.c.owner)
)
_FIRST_DUE = (
    select(deliveries.c.id)
    .where(
        _IS_DUE,
        deliveries.c.owner == bindparam("its_owner"),
        deliveries.c.host.not_in(bindparam("hosts", expanding=True)),
    )
    .order_by(deliveries.c.next_at)
    .limit(1)
    .with_for_update(skip_locked=True)
)
_OLD = and_(
    deliveries.c.state.in_(("delivered", "given_up", "switched_off")),
    deliveries.c.next_at < bindparam("before"),
)
_ANY_OLD = select(exists().where(_OLD))


def insert_deliveries(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add messages, all waiting."""
    connection.execute(insert(deliveries), [dict(row) for row in rows])


def any_due(connection: Connection, now: float) -> bool:
    """Whether a message waits whose time has come."""
    return bool(connection.execute(_ANY_DUE, {"now": now}).scalar())


def owners_due(connection: Connection, now: float) -> Sequence[str]:
    """Whose messages wait whose time has come."""
    return connection.execute(_OWNERS_DUE, {"now": now}).scalars().all()


def claim_due(
    connection: Connection,
    owner: str,
    *,
    now: float,
    lease_seconds: float,
    but_hosts: Sequence[str] = (),
) -> Row[Any] | None:
    """Take the owner's message whose time came first, the new try counted; None where none is due.

    Unless noted how it went, it is due again once the lease is over. None to any of `but_hosts` is
    taken.
    """
    asked = {"now": now, "its_owner": owner, "hosts": list(but_hosts)}
    due = connection.execute(_FIRST_DUE, asked).scalar()
    if due is None:
        return None
    return connection.execute(
        update(deliveries)
        .where(deliveries.c.id == due)
        .values(n_tries=deliveries.c.n_tries + 1, next_at=now + lease_seconds)
        .returning(deliveries)
    ).one()


def note_try(
    connection: Connection,
    delivery_id: str,
    n_tries: int,
    *,
    state: str,
    next_at: float,
    last_error: str | None,
) -> bool:
    """Write how the try of this number went; False where another one has begun meanwhile."""
    done = connection.execute(
        update(deliveries)
        .where(deliveries.c.id == delivery_id, deliveries.c.n_tries == n_tries, _WAITING)
        .values(state=state, next_at=next_at, last_error=last_error)
    )
    return done.rowcount == 1


def postpone(connection: Connection, owner: str, host: str, until: float) -> None:
    """Try none of the owner's messages to the host before that."""
    sooner = select(deliveries.c.id).where(
        _WAITING,
        deliveries.c.owner == owner,
        deliveries.c.next_at < until,
        deliveries.c.host == host,
    )
    # Several tries fail at one moment: whoever finds rows locked leaves them to whom they are.
    passed_over = sooner.with_for_update(skip_locked=True)
    connection.execute(
        update(deliveries).where(deliveries.c.id.in_(passed_over)).values(next_at=until)
    )


def switch_off(connection: Connection, owner: str, url: str, now: float) -> None:
    """Send the owner's messages to the address no more, those that wait included."""
    if not is_off(connection, owner, url):
        try:
            with connection.begin_nested():
                row = {"owner": owner, "url": url, "since": now}
                connection.execute(insert(webhooks_off), row)
        except IntegrityError:
            # Another message heard the same at the same moment.
            pass
    # In one order, so that no two that hear it at one moment wait for each other.
    its = (
        select(deliveries.c.id)
        .where(_WAITING, deliveries.c.owner == owner, deliveries.c.url == url)
        .order_by(deliveries.c.id)
        .with_for_update()
    )
    connection.execute(
        update(deliveries).where(deliveries.c.id.in_(its)).values(state="switched_off", next_at=now)
    )


def is_off(connection: Connection, owner: str, url: str) -> bool:
    """Whether the address is switched off for the owner."""
    asked = exists().where(webhooks_off.c.owner == owner, webhooks_off.c.url == url)
    return bool(connection.execute(select(asked)).scalar())


def any_old(connection: Connection, before: float) -> bool:
    """Whether `forget_deliveries` has something to do."""
    return bool(connection.execute(_ANY_OLD, {"before": before}).scalar())


def forget_deliveries(connection: Connection, before: float) -> int:
    """Drop the messages that were done with before that; how many."""
    return connection.execute(delete(deliveries).where(_OLD), {"before": before}).rowcount
