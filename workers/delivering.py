"""Delivering messages that are due, many at once, until none is.

At least once: how a try went is noted after it, and where nobody notes that it is made again.
"""

import threading
import time
from collections.abc import Callable
from typing import Any

import structlog

from service.context import Context
from service.database import deliveries as queries
from service.webhooks import webhook_secrets
from workers.draining import draining
from workers.turns import Turns
from workers.webhooks import Message, Reply, send

log = structlog.get_logger(__name__)

_AT_ONCE = 16
_AT_ONCE_OF_AN_OWNER = 4
_AT_ONCE_OF_A_HOST = 3
# Longer than any try takes; then whoever made it is taken for dead.
_LEASE_SECONDS = 120.0
_FIRST_RETRY_SECONDS = 5.0
# A host that was away is seen to be back this soon, whatever the message that found it away.
_MOST_POSTPONED_SECONDS = 60.0
_TRIED_FOR_SECONDS = 86_400.0


class Courier:
    """Delivers on threads of its own while messages are due, so that its process does other work.

    `clock` gives the present, in seconds since the epoch.
    """

    def __init__(self, context: Context, clock: Callable[[], float] = time.time) -> None:
        self._context = context
        self._clock = clock
        self._turns = Turns(
            _AT_ONCE,
            most_of_an_owner=_AT_ONCE_OF_AN_OWNER,
            most_of_a_host=_AT_ONCE_OF_A_HOST,
        )
        self._changed = threading.Condition()
        self._busy = False
        self._again = False

    @property
    def busy(self) -> bool:
        """Whether messages are being tried, or looked for."""
        return self._busy

    def wake(self) -> None:
        """Deliver what is due, as soon as there are places."""
        with self._changed:
            self._look_again()
            if self._busy:
                return
            self._busy = True
        threading.Thread(target=self._work, name="courier", daemon=True).start()

    def _work(self) -> None:
        while self._has_more():
            try:
                self._begin_tries()
            except Exception:
                # The edge of this thread: whatever failed is due again, and a sweep wakes it.
                log.exception("delivering_failed")

    def _has_more(self) -> bool:
        """Wait until a place has come free, or there may be more to try; False once all is done."""
        with self._changed:
            self._changed.wait_for(lambda: self._again or not self._turns.any_taken())
            self._busy = self._again
            self._again = False
            return self._busy

    def _look_again(self) -> None:
        with self._changed:
            self._again = True
            self._changed.notify_all()

    def _begin_tries(self) -> None:
        if draining():
            return
        now = self._clock()
        # Daemons: a process that is stopped waits for no receiver, and the try is made again.
        for row in self._claim(now):
            threading.Thread(target=self._try, args=(row, now), daemon=True).start()

    def _claim(self, now: float) -> list[Any]:
        """What is due, as far as there are places; these are then taken."""
        with self._context.database.read() as connection:
            owners = set(queries.owners_due(connection, now))
        if self._turns.next_of(owners) is None:
            return []
        rows: list[Any] = []
        try:
            with self._context.database.write() as connection:
                while (owner := self._turns.next_of(owners)) is not None:
                    row = queries.claim_due(
                        connection,
                        owner,
                        now=now,
                        lease_seconds=_LEASE_SECONDS,
                        but_hosts=self._turns.full_hosts(owner),
                    )
                    if row is None:
                        owners.remove(owner)
                    else:
                        self._turns.take(row.owner, row.host)
                        rows.append(row)
        except BaseException:
            for row in rows:
                self._turns.give_back(row.owner, row.host)
            raise
        return rows

    def _try(self, row: Any, now: float) -> None:
        try:
            _deliver(self._context, row, now, self._clock)
        except Exception:
            # The edge of this thread: the message is due again when its lease is over.
            log.exception("delivery_failed", message_id=row.id)
        finally:
            # Only now, for what was noted may concern the next one.
            with self._changed:
                self._turns.give_back(row.owner, row.host)
                self._look_again()


def _deliver(context: Context, row: Any, now: float, clock: Callable[[], float]) -> None:
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
        reply = send(message, now=now, allow_private=context.settings.webhook_allow_private)
        # A silent receiver takes longer than the first retry waits.
        _settle(context, row, clock(), reply)


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
    seconds = retry_seconds(row.n_tries)
    next_at = now + seconds
    error = reply.error or f"answered {reply.status}"
    if reply.status is None:
        # Else each of thousands of messages to a dead host would take its owner's places.
        until = now + min(seconds, _MOST_POSTPONED_SECONDS)
        with context.database.write() as connection:
            queries.postpone(connection, row.owner, row.host, until)
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
