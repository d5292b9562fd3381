"""The queries on messages that are to be delivered, and on addresses that want none."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, delete, exists, insert, select, update
from sqlalchemy.exc import IntegrityError

from service.database.schema import deliveries, webhooks_off

# Every sweep asks this: it is built once.
_DUE = (
    select(deliveries)
    .where(deliveries.c.state == "waiting", deliveries.c.next_at <= bindparam("now"))
    .order_by(deliveries.c.next_at)
)
_ANY_DUE = select(_DUE.with_only_columns(deliveries.c.id).limit(1).exists())
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


def claim_due(
    connection: Connection, *, now: float, lease_seconds: float, most: int
) -> Sequence[Row[Any]]:
    """Take the messages whose time came first, the new try counted.

    Unless noted how it went, each is due again once the lease is over.
    """
    due = _DUE.with_only_columns(deliveries.c.id).limit(most).with_for_update(skip_locked=True)
    ids = list(connection.execute(due, {"now": now}).scalars())
    if not ids:
        return []
    return connection.execute(
        update(deliveries)
        .where(deliveries.c.id.in_(ids))
        .values(n_tries=deliveries.c.n_tries + 1, next_at=now + lease_seconds)
        .returning(deliveries)
    ).fetchall()


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
        .where(
            deliveries.c.id == delivery_id,
            deliveries.c.n_tries == n_tries,
            deliveries.c.state == "waiting",
        )
        .values(state=state, next_at=next_at, last_error=last_error)
    )
    return done.rowcount == 1


def postpone(connection: Connection, owner: str, url: str, until: float) -> None:
    """Try none of the owner's messages to the address before that."""
    connection.execute(
        update(deliveries)
        .where(
            deliveries.c.state == "waiting",
            deliveries.c.next_at < until,
            deliveries.c.owner == owner,
            deliveries.c.url == url,
        )
        .values(next_at=until)
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
    connection.execute(
        update(deliveries)
        .where(
            deliveries.c.state == "waiting", deliveries.c.owner == owner, deliveries.c.url == url
        )
        .values(state="switched_off", next_at=now)
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
