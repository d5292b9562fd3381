"""The queries on messages that are to be delivered, and on addresses that want none."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    Connection,
    Row,
    and_,
    bindparam,
    delete,
    exists,
    false,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from service.database.schema import deliveries, webhook_hosts, webhooks_off

_LATELY_SECONDS = 60.0


class DueHost(NamedTuple):
    """A host to which messages of the owner's are due.

    `answers` says whether it did when it was last tried, and that is not long ago; `silent_url` is
    the address at which it last did not.
    """

    owner: str
    host: str
    answers: bool = False
    silent_url: str | None = None


_WAITING = deliveries.c.state == "waiting"
_IS_DUE = and_(_WAITING, deliveries.c.next_at <= bindparam("now"))
# Every sweep asks this: it is built once.
_ANY_DUE = select(exists().where(_IS_DUE))
# Each owner, and each host of theirs, is found by one step into the index, however many messages
# wait there.
_OWNERS = select(func.min(deliveries.c.owner).label("owner")).where(_WAITING).cte(recursive=True)
_OWNERS = _OWNERS.union_all(
    select(
        select(func.min(deliveries.c.owner))
        .where(_WAITING, deliveries.c.owner > _OWNERS.c.owner)
        .scalar_subquery()
    ).where(_OWNERS.c.owner.is_not(None))
)
_FIRST_HOST = select(func.min(deliveries.c.host)).where(
    _WAITING, deliveries.c.owner == _OWNERS.c.owner
)
_HOSTS = (
    select(_OWNERS.c.owner, _FIRST_HOST.scalar_subquery().label("host"))
    .where(_OWNERS.c.owner.is_not(None))
    .cte(recursive=True)
)
_NEXT_HOST = select(func.min(deliveries.c.host)).where(
    _WAITING, deliveries.c.owner == _HOSTS.c.owner, deliveries.c.host > _HOSTS.c.host
)
_HOSTS = _HOSTS.union_all(
    select(_HOSTS.c.owner, _NEXT_HOST.scalar_subquery()).where(_HOSTS.c.host.is_not(None))
)
# Were it asked whether one exists, PostgreSQL would read all that are due.
_FIRST_AT = select(func.min(deliveries.c.next_at)).where(
    _WAITING, deliveries.c.owner == _HOSTS.c.owner, deliveries.c.host == _HOSTS.c.host
)
_ANSWERS = and_(
    webhook_hosts.c.failures == 0,
    webhook_hosts.c.answered_at + _LATELY_SECONDS > bindparam("now"),
)
_DUE_HOSTS = (
    select(
        _HOSTS.c.owner,
        _HOSTS.c.host,
        func.coalesce(_ANSWERS, false()).label("answers"),
        webhook_hosts.c.silent_url,
    )
    .outerjoin(
        webhook_hosts,
        and_(webhook_hosts.c.owner == _HOSTS.c.owner, webhook_hosts.c.host == _HOSTS.c.host),
    )
    .where(
        _FIRST_AT.scalar_subquery() <= bindparam("now"),
        func.coalesce(webhook_hosts.c.away_until, 0.0) <= bindparam("now"),
    )
)
_IS_TO_HOST = and_(
    deliveries.c.owner == bindparam("its_owner"), deliveries.c.host == bindparam("its_host")
)
_IS_AWAY = exists().where(
    webhook_hosts.c.owner == bindparam("its_owner"),
    webhook_hosts.c.host == bindparam("its_host"),
    webhook_hosts.c.away_until > bindparam("now"),
)
_FIRST_DUE = (
    select(deliveries.c.id)
    .where(_IS_DUE, _IS_TO_HOST, ~_IS_AWAY)
    .order_by(deliveries.c.next_at)
    .limit(1)
    .with_for_update(skip_locked=True)
)
_FIRST_DUE_ELSEWHERE = _FIRST_DUE.where(deliveries.c.url != bindparam("silent_url"))
_OVERDUE = (
    select(deliveries.c.id)
    .where(_IS_DUE, _IS_TO_HOST, deliveries.c.created_at <= bindparam("before"))
    .order_by(deliveries.c.next_at)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
)
_TO_ADDRESS = (
    select(deliveries.c.id)
    .where(_WAITING, _IS_TO_HOST, deliveries.c.url == bindparam("its_url"))
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
)
_OLD = and_(
    deliveries.c.state.in_(("delivered", "given_up", "switched_off")),
    deliveries.c.next_at < bindparam("before"),
)
_ANY_OLD = select(exists().where(_OLD))
_SOME_OLD = (
    select(deliveries.c.id).where(_OLD).limit(bindparam("most")).with_for_update(skip_locked=True)
)


def insert_deliveries(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add messages, all waiting."""
    connection.execute(insert(deliveries), [dict(row) for row in rows])


def any_due(connection: Connection, now: float) -> bool:
    """Whether a message waits whose time has come, be its host away or not."""
    return bool(connection.execute(_ANY_DUE, {"now": now}).scalar())


def due_hosts(connection: Connection, now: float) -> list[DueHost]:
    """Where messages go whose time has come, but to hosts that are away."""
    return [DueHost(*row) for row in connection.execute(_DUE_HOSTS, {"now": now})]


def claim_due(
    connection: Connection, to: DueHost, *, now: float, lease_seconds: float
) -> Row[Any] | None:
    """Take the message whose time came first, the new try counted; None where none is due.

    None too where the host has been found away meanwhile. Unless noted how it went, the message is
    due again once the lease is over. One to the address that was silent comes after all others:
    else that alone could keep its host from being found back.
    """
    asked = {"now": now, "its_owner": to.owner, "its_host": to.host}
    due = None
    if to.silent_url is not None:
        due = connection.execute(
            _FIRST_DUE_ELSEWHERE, asked | {"silent_url": to.silent_url}
        ).scalar()
    if due is None:
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


def give_up_overdue(
    connection: Connection,
    owner: str,
    host: str,
    *,
    before: float,
    now: float,
    last_error: str,
    most: int,
) -> int:
    """Give up messages to the host that are due and were owed before that; how many, up to `most`.

    What is being tried is not due. Whoever finds rows locked leaves them to whom they are.
    """
    asked = {"its_owner": owner, "its_host": host, "before": before, "now": now, "most": most}
    given_up = (
        update(deliveries)
        .where(deliveries.c.id.in_(_OVERDUE))
        .values(state="given_up", next_at=bindparam("since"), last_error=bindparam("why"))
    )
    return connection.execute(given_up, asked | {"since": now, "why": last_error}).rowcount


def switch_off(connection: Connection, owner: str, url: str, now: float) -> None:
    """Note that no message of the owner's is to be sent to the address any more."""
    if is_off(connection, owner, url):
        return
    try:
        with connection.begin_nested():
            connection.execute(insert(webhooks_off), {"owner": owner, "url": url, "since": now})
    except IntegrityError:
        # Another message heard the same at the same moment.
        pass


def drop_switched_off(
    connection: Connection, owner: str, host: str, url: str, *, now: float, most: int
) -> int:
    """End messages that wait for the address, which is of the host; how many, up to `most`.

    Whoever finds rows locked leaves them: that the address is off is looked at before each try.
    """
    asked = {"its_owner": owner, "its_host": host, "its_url": url, "most": most, "since": now}
    off = (
        update(deliveries)
        .where(deliveries.c.id.in_(_TO_ADDRESS))
        .values(state="switched_off", next_at=bindparam("since"))
    )
    return connection.execute(off, asked).rowcount


def is_off(connection: Connection, owner: str, url: str) -> bool:
    """Whether the address is switched off for the owner."""
    asked = exists().where(webhooks_off.c.owner == owner, webhooks_off.c.url == url)
    return bool(connection.execute(select(asked)).scalar())


def any_old(connection: Connection, before: float) -> bool:
    """Whether `forget_deliveries` has something to do."""
    return bool(connection.execute(_ANY_OLD, {"before": before}).scalar())


def forget_deliveries(connection: Connection, before: float, most: int) -> int:
    """Drop messages that were done with before that; how many, up to `most`."""
    some = delete(deliveries).where(deliveries.c.id.in_(_SOME_OLD))
    return connection.execute(some, {"before": before, "most": most}).rowcount
