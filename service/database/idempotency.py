"""The queries on idempotency keys."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from service.database.schema import idempotency_keys as keys

_ONE = (keys.c.owner == bindparam("its_owner"), keys.c.key == bindparam("its_key"))
_FIND = select(keys).where(*_ONE, keys.c.expires_at >= bindparam("now"))
_FORGET = delete(keys).where(*_ONE, keys.c.expires_at < bindparam("now"))
_ANSWER = (
    update(keys)
    .where(*_ONE, keys.c.made == bindparam("its_made"))
    .values(
        status=bindparam("new_status"), headers=bindparam("new_headers"), body=bindparam("new_body")
    )
)


def find_key(connection: Connection, owner: str, key: str, now: float) -> Row[Any] | None:
    """The owner's key, where it has not expired."""
    given = {"its_owner": owner, "its_key": key, "now": now}
    return connection.execute(_FIND, given).first()


def insert_key(connection: Connection, row: Mapping[str, Any], now: float) -> bool:
    """Add a key without an answer; False where another transaction has added it.

    The transaction can only be rolled back then.
    """
    given = {"its_owner": row["owner"], "its_key": row["key"], "now": now}
    connection.execute(_FORGET, given)
    try:
        connection.execute(insert(keys), dict(row))
    except IntegrityError:
        return False
    return True


def keep_answer(
    connection: Connection,
    owner: str,
    key: str,
    *,
    made: str,
    answer: tuple[int, Mapping[str, str], bytes],
) -> None:
    """Note the status, headers and body that the request got which made this."""
    status, headers, body = answer
    connection.execute(
        _ANSWER,
        {
            "its_owner": owner,
            "its_key": key,
            "its_made": made,
            "new_status": status,
            "new_headers": dict(headers),
            "new_body": body,
        },
    )


def forget_keys(connection: Connection, now: float) -> int:
    """Drop the keys that have expired; how many."""
    return connection.execute(delete(keys).where(keys.c.expires_at < now)).rowcount
