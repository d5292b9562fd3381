"""The queries on API keys."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, exists, insert, select, update

from service.database.schema import api_keys as keys

_BY_DIGEST = select(keys).where(keys.c.digest == bindparam("its_digest"))
_ANY = select(exists(select(keys.c.id)))


def insert_api_key(connection: Connection, row: Mapping[str, Any]) -> None:
    """Add a key."""
    connection.execute(insert(keys), dict(row))


def find_api_key(connection: Connection, digest: str) -> Row[Any] | None:
    """The key of this digest, a revoked one too."""
    return connection.execute(_BY_DIGEST, {"its_digest": digest}).first()


def has_api_keys(connection: Connection) -> bool:
    """Whether a key was ever made: a revoked one counts, for it must not open the service."""
    return bool(connection.execute(_ANY).scalar())


def all_api_keys(connection: Connection) -> Sequence[Row[Any]]:
    """All keys, oldest first."""
    return connection.execute(select(keys).order_by(keys.c.id)).fetchall()


def revoke_api_key(connection: Connection, key_id: str, now: float) -> bool:
    """Mark the key as revoked; False where there is none that is not."""
    done = connection.execute(
        update(keys).where(keys.c.id == key_id, keys.c.revoked_at.is_(None)).values(revoked_at=now)
    )
    return done.rowcount == 1


def limits_of_owners(
    connection: Connection, owners: Sequence[str]
) -> list[tuple[str, Mapping[str, Any]]]:
    """Each key of these owners that holds: whose it is, and its limits."""
    found = select(keys.c.owner, keys.c.limits).where(
        keys.c.owner.in_(owners), keys.c.revoked_at.is_(None)
    )
    return [(row.owner, row.limits) for row in connection.execute(found)]


def webhook_secrets_of(connection: Connection, owner: str) -> list[str]:
    """The secret of each of the owner's keys that holds, the newest key's first."""
    found = (
        select(keys.c.webhook_secret)
        .where(keys.c.owner == owner, keys.c.revoked_at.is_(None))
        .order_by(keys.c.id.desc())
    )
    return list(connection.execute(found).scalars())
