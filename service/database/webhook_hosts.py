"""The queries on how hosts answer an owner's messages.

A transaction that changes messages too does so before: in one order, no two wait for each other.
"""

from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, delete, exists, select, text, update

from service.database.schema import webhook_hosts

# Both databases say it so, and SQLAlchemy says it for each of them alone.
_INSERT = (
    "INSERT INTO webhook_hosts (owner, host, answered_at, failures, away_until) "
    "VALUES (:its_owner, :its_host, :answered_at, 0, 0) ON CONFLICT (owner, host) DO "
)
_MAKE = text(_INSERT + "NOTHING")
_ANSWERED = text(
    _INSERT + "UPDATE SET answered_at = excluded.answered_at, failures = 0, "
    "first_failed_at = NULL, silent_url = NULL, away_until = 0"
)
_IT = and_(
    webhook_hosts.c.owner == bindparam("its_owner"), webhook_hosts.c.host == bindparam("its_host")
)
_HOLD = select(webhook_hosts).where(_IT).with_for_update()


def note_answer(connection: Connection, owner: str, host: str, now: float) -> None:
    """The host has answered, and is not away."""
    connection.execute(_ANSWERED, {"its_owner": owner, "its_host": host, "answered_at": now})


def hold_host(connection: Connection, owner: str, host: str) -> Row[Any]:
    """What is known of the host, which nobody else changes until the transaction ends."""
    its = {"its_owner": owner, "its_host": host}
    # Else there would be nothing to hold at first, and an answer of this moment would be lost.
    connection.execute(_MAKE, its | {"answered_at": 0.0})
    return connection.execute(_HOLD, its).one()


def note_silence(
    connection: Connection,
    owner: str,
    host: str,
    *,
    failures: int,
    first_failed_at: float,
    silent_url: str,
    away_until: float,
) -> None:
    """The host, which is held, is away."""
    connection.execute(
        update(webhook_hosts)
        .where(_IT)
        .values(
            failures=failures,
            first_failed_at=first_failed_at,
            silent_url=silent_url,
            away_until=away_until,
        ),
        {"its_owner": owner, "its_host": host},
    )


def is_silent_since(connection: Connection, owner: str, host: str, moment: float) -> bool:
    """Whether the host was found away then or before, and has answered nothing since."""
    since = exists().where(
        _IT, webhook_hosts.c.failures > 0, webhook_hosts.c.first_failed_at <= moment
    )
    return bool(connection.execute(select(since), {"its_owner": owner, "its_host": host}).scalar())


def forget_hosts(connection: Connection, before: float) -> None:
    """Drop what is known of hosts that nothing was sent to since."""
    connection.execute(
        delete(webhook_hosts).where(
            webhook_hosts.c.answered_at < before, webhook_hosts.c.away_until < before
        )
    )
