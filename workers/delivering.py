"""Delivering messages that are due, many at once, until none is.

At least once: how a try went is noted after it, and where nobody notes that it is made again.
"""

import threading
import time
from typing import Any

import structlog

from service.context import Context
from service.database import deliveries as queries
from service.webhooks import webhook_secrets
from workers.draining import draining
from workers.webhooks import Message, Reply, send

log = structlog.get_logger(__name__)

_AT_ONCE = 16
# Longer than any try takes; then whoever made it is taken for dead.
_LEASE_SECONDS = 120.0
_FIRST_RETRY_SECONDS = 5.0
_TRIED_FOR_SECONDS = 86_400.0


def deliver_due(context: Context, now: float | None = None) -> int:
    """Try each message whose time has come once, and note how it went; how many there were.

    `now`, seconds since the epoch, is the present unless it is given.
    """
    now = time.time() if now is None else now
    with context.database.write() as connection:
        rows = queries.claim_due(connection, now=now, lease_seconds=_LEASE_SECONDS, most=_AT_ONCE)
    # Daemons: a process that is stopped waits for no receiver, and the try is made again.
    threads = [
        threading.Thread(target=_deliver_one, args=(context, row, now), daemon=True) for row in rows
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(rows)


def _deliver_one(context: Context, row: Any, now: float) -> None:
    try:
        _deliver(context, row, now)
    except Exception:
        # The edge of this thread: the message is due again when its lease is over.
        log.exception("delivery_failed", message_id=row.id)


def _deliver(context: Context, row: Any, now: float) -> None:
    with context.database.read() as connection:
        off = queries.is_off(connection, row.owner, row.url)
    secrets = webhook_secrets(context, row.owner)
    if off:
        _note(context, row, "switched_off", now, "the address has answered 410 Gone")
    elif row.n_tries > 1 and now > row.created_at + _TRIED_FOR_SECONDS:
        # How its tries went was never noted.
        _note(context, row, "given_up", now, "the time is up")
    elif not secrets:
        _retry(context, row, now, Reply(None, "no secret is configured"))
    else:
        message = Message(row.id, row.url, row.body, secrets)
        allow_private = context.settings.webhook_allow_private
        _settle(context, row, now, send(message, now=now, allow_private=allow_private))


def _settle(context: Context, row: Any, now: float, reply: Reply) -> None:
    if reply.taken:
        _note(context, row, "delivered", now, None)
    elif reply.unwanted:
        with context.database.write() as connection:
            queries.switch_off(connection, row.owner, row.url, now)
        log.warning("webhook_switched_off", message_id=row.id, owner=row.owner)
    else:
        _retry(context, row, now, reply)


def _retry(context: Context, row: Any, now: float, reply: Reply) -> None:
    next_at = now + retry_seconds(row.n_tries)
    error = reply.error or f"answered {reply.status}"
    if reply.status is None:
        # Else thousands of messages to a dead address would stand before everyone's.
        with context.database.write() as connection:
            queries.postpone(connection, row.owner, row.url, next_at)
    if next_at > row.created_at + _TRIED_FOR_SECONDS:
        _note(context, row, "given_up", now, error)
    else:
        _note(context, row, "waiting", next_at, error)


def retry_seconds(n_tries: int) -> float:
    """How long after so many tries the next one is made: 5 s after the first, then twice as long.

    n_tries: 1 or more.
    """
    return float(_FIRST_RETRY_SECONDS * 2 ** (n_tries - 1))


def _note(context: Context, row: Any, state: str, next_at: float, error: str | None) -> None:
    with context.database.write() as connection:
        queries.note_try(
            connection, row.id, row.n_tries, state=state, next_at=next_at, last_error=error
        )
    log.info(
        "message_tried",
        message_id=row.id,
        subject=row.subject,
        n_tries=row.n_tries,
        state=state,
        error=error,
    )


class Courier:
    """A thread that delivers while messages are due, so that its process is free for other work."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._lock = threading.Lock()
        self._busy = False
        self._again = False

    def wake(self) -> None:
        """Deliver what is due, at once or after what is being delivered."""
        with self._lock:
            self._again = True
            if self._busy:
                return
            self._busy = True
        threading.Thread(target=self._work, name="courier", daemon=True).start()

    def _work(self) -> None:
        while self._has_more():
            try:
                while not draining() and deliver_due(self._context):
                    pass
            except Exception:
                # The edge of this thread: whatever failed is due again, and a sweep wakes it.
                log.exception("delivering_failed")

    def _has_more(self) -> bool:
        with self._lock:
            self._busy = self._again
            self._again = False
            return self._busy
