"""Requests that come again: a key is bound to what its first request made.

The key is committed by the transaction that makes the thing, so that there is no thing without its
key and no key without its thing, wherever a process dies. Of two requests at the same moment one
commits; the other finds the key taken, and everything of its own is rolled back.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from service.context import Context
from service.database import Connection
from service.database import idempotency as queries
from service.errors import KeyInFlight, KeyReused

KEPT_SECONDS = 24 * 3600.0

Answer = tuple[int, Mapping[str, str], bytes]


@dataclass(frozen=True)
class Ticket:
    """A request under a key: `digest` tells it from others, `seconds` bounds its answering."""

    owner: str
    key: str
    digest: str
    seconds: float


@dataclass(frozen=True)
class Earlier:
    """What an earlier request under the key made, and its answer where it is known."""

    made: str
    answer: Answer | None


def redeem(connection: Connection, ticket: Ticket | None, made: str) -> None:
    """Bind the ticket's key to the thing's id, within the transaction that makes the thing.

    Raises KeyInFlight where another request has been faster.
    """
    if ticket is None:
        return
    now = time.time()
    row = {
        "owner": ticket.owner,
        "key": ticket.key,
        "digest": ticket.digest,
        "made": made,
        "answering_until": now + ticket.seconds,
        "expires_at": now + KEPT_SECONDS,
    }
    if not queries.insert_key(connection, row, now):
        raise KeyInFlight("another request with this Idempotency-Key came at the same moment")


def find_earlier(context: Context, ticket: Ticket) -> Earlier | None:
    """What an earlier request with the ticket's key made, if there was one.

    Raises KeyReused where that was another request, and KeyInFlight while it is still answered.
    Whoever answered it may have died: then its answer is not known.
    """
    now = time.time()
    with context.database.read() as connection:
        row = queries.find_key(connection, ticket.owner, ticket.key, now)
    if row is None:
        return None
    if row.digest != ticket.digest:
        detail = "the Idempotency-Key belongs to another request; take a new key for a new one"
        raise KeyReused(detail)
    if row.status is not None:
        return Earlier(row.made, (row.status, row.headers, row.body))
    if now < row.answering_until:
        raise KeyInFlight("the first request with this Idempotency-Key is still being answered")
    return Earlier(row.made, None)


def keep_answer(context: Context, ticket: Ticket, made: str, answer: Answer) -> None:
    """Keep what the request was answered, to be said again."""
    with context.database.write() as connection:
        queries.keep_answer(connection, ticket.owner, ticket.key, made=made, answer=answer)


def forget_old(context: Context, now: float) -> int:
    """Drop the keys that are older than a day; how many."""
    with context.database.write() as connection:
        return queries.forget_keys(connection, now)
