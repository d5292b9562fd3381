"""One try at a message, and what follows from it for others to its host.

At least once: how a try went is noted after it, and where nobody notes that it is made again.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import structlog

from service.context import Context
from service.database import Connection
from service.database import deliveries as queries
from service.database import webhook_hosts as hosts
from service.webhooks import webhook_secrets
from workers.webhooks import Message, Reply, send

log = structlog.get_logger(__name__)

_FIRST_RETRY_SECONDS = 5.0
# A host that was away is seen to be back this soon, however long it was.
_MOST_AWAY_SECONDS = 60.0
# After so many failures that is how long it is left alone.
_MOST_COUNTED = 10
_TRIED_FOR_SECONDS = 86_400.0
# A host that was not tried for longer than this is not known to have been silent meanwhile.
_UNTRIED_SECONDS = 3_600.0
# In pieces, for SQLite has one writer at a time.
_ENDED_AT_ONCE = 1000
_GONE = "the address has answered 410 Gone"


class _Outcome(NamedTuple):
    """What becomes of a message: `next_at` is when it is tried next, or since when it is not."""

    state: str
    next_at: float
    error: str | None = None


def try_message(context: Context, row: Any, began: float, clock: Callable[[], float]) -> None:
    """Send what the row, claimed at `began`, has to be sent, and note how that went.

    `clock` gives the present, in seconds since the epoch.
    """
    with context.database.read() as connection:
        off = queries.is_off(connection, row.owner, row.url)
    secrets = webhook_secrets(context, row.owner)
    if off:
        _note(context, row, _Outcome("switched_off", began, _GONE))
    elif row.n_tries > 1 and began > row.created_at + _TRIED_FOR_SECONDS:
        # How its tries went was never noted, or its host was away.
        _note(context, row, _Outcome("given_up", began, "the time is up"))
    elif not secrets:
        # This says nothing of the host.
        _note(context, row, _again(row, began, "no secret is configured"))
    else:
        message = Message(row.id, row.url, row.body, secrets)
        reply = send(message, now=began, allow_private=context.settings.webhook_allow_private)
        # A silent receiver takes longer than the first retry waits.
        _settle(context, row, reply, began, clock())


def retry_seconds(n_tries: int) -> float:
    """How long after so many tries the next one is made: 5 s after the first, then twice as long.

    n_tries: 1 or more.
    """
    return float(_FIRST_RETRY_SECONDS * 2 ** (n_tries - 1))


def _settle(context: Context, row: Any, reply: Reply, began: float, now: float) -> None:
    if reply.unwanted:
        with context.database.write() as connection:
            queries.switch_off(connection, row.owner, row.url, now)
        _note(context, row, _Outcome("switched_off", now, _GONE), _answered(row, now))
        log.warning("webhook_switched_off", message_id=row.id, owner=row.owner)
        _drop_switched_off(context, row, now)
    elif reply.taken:
        _note(context, row, _Outcome("delivered", now), _answered(row, now))
    elif reply.status is not None:
        outcome = _again(row, now, f"answered {reply.status}")
        _note(context, row, outcome, _answered(row, now))
    else:
        _note(context, row, _again(row, now, reply.error), _silent(row, began, now))
        _give_up_overdue(context, row, now)


def _drop_switched_off(context: Context, row: Any, now: float) -> None:
    n = _ENDED_AT_ONCE
    while n == _ENDED_AT_ONCE:
        with context.database.write() as connection:
            n = queries.drop_switched_off(
                connection, row.owner, row.host, row.url, now=now, most=_ENDED_AT_ONCE
            )


def _again(row: Any, now: float, error: str | None) -> _Outcome:
    next_at = now + retry_seconds(row.n_tries)
    if next_at > row.created_at + _TRIED_FOR_SECONDS:
        return _Outcome("given_up", now, error)
    return _Outcome("waiting", next_at, error)


def _note(
    context: Context,
    row: Any,
    outcome: _Outcome,
    note_host: Callable[[Connection], None] = lambda _: None,
) -> None:
    """Write the outcome, and with it what the try says of the host."""
    with context.database.write() as connection:
        in_time = queries.note_try(
            connection,
            row.id,
            row.n_tries,
            state=outcome.state,
            next_at=outcome.next_at,
            last_error=outcome.error,
        )
        note_host(connection)
    log.info(
        "message_tried" if in_time else "message_tried_too_slowly",
        message_id=row.id,
        subject=row.subject,
        n_tries=row.n_tries,
        state=outcome.state,
        error=outcome.error,
    )


def _answered(row: Any, now: float) -> Callable[[Connection], None]:
    return lambda connection: hosts.note_answer(connection, row.owner, row.host, now)


def _silent(row: Any, began: float, now: float) -> Callable[[Connection], None]:
    """Leave the host alone, unless it is this one address that is slow.

    Else each of thousands of messages to a dead host would take its owner's places.
    """

    def note(connection: Connection) -> None:
        host = hosts.hold_host(connection, row.owner, row.host)
        # Tries that ran at one moment are one failure.
        if host.answered_at >= began or host.away_until > began:
            return
        # Nobody knows what a host did while nobody tried it.
        goes_on = host.failures > 0 and began <= host.away_until + _UNTRIED_SECONDS
        failures = host.failures + 1 if goes_on else 1
        seconds = min(retry_seconds(min(failures, _MOST_COUNTED)), _MOST_AWAY_SECONDS)
        hosts.note_silence(
            connection,
            row.owner,
            row.host,
            failures=failures,
            first_failed_at=host.first_failed_at if goes_on else began,
            silent_url=row.url,
            away_until=now + seconds,
        )

    return note


def _give_up_overdue(context: Context, row: Any, now: float) -> None:
    """Of a host that has been silent for as long as messages are tried, drop those as old as that.

    A few tries a minute would never come to the end of them.
    """
    before = now - _TRIED_FOR_SECONDS
    with context.database.read() as connection:
        silent = hosts.is_silent_since(connection, row.owner, row.host, before)
    while silent:
        with context.database.write() as connection:
            n = queries.give_up_overdue(
                connection,
                row.owner,
                row.host,
                before=before,
                now=now,
                last_error="its host has been silent for a day",
                most=_ENDED_AT_ONCE,
            )
        if n:
            log.warning("messages_given_up", owner=row.owner, host=row.host, n=n)
        silent = n == _ENDED_AT_ONCE
