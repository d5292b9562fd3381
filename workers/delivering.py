"""Delivering messages that are due, many at once, until none is."""

import threading
import time
from collections.abc import Callable
from typing import Any

import structlog

from service.context import Context
from service.database import deliveries as queries
from workers.draining import draining
from workers.tries import try_message
from workers.turns import Turns

log = structlog.get_logger(__name__)

_AT_ONCE = 16
_AT_ONCE_OF_AN_OWNER = 4
_AT_ONCE_OF_A_HOST = 3
# So many stay free for who comes while one has more than these.
_KEPT_FREE = 4
# Longer than any try takes; then whoever made it is taken for dead.
_LEASE_SECONDS = 120.0


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
            kept_free=_KEPT_FREE,
        )
        self._changed = threading.Condition()
        self._busy = False
        self._again = False
        self._woken = False
        self._due: set[queries.DueHost] = set()

    @property
    def busy(self) -> bool:
        """Whether messages are being tried, or looked for."""
        return self._busy

    def wake(self) -> None:
        """Deliver what is due, as soon as there are places."""
        with self._changed:
            self._woken = True
            self._look_again()
            if not self._busy:
                threading.Thread(target=self._work, name="courier", daemon=True).start()
                # Only now: where no thread could be made, the next call tries again.
                self._busy = True

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
        for row in self._claim(now):
            self._begin_try(row, now)

    def _begin_try(self, row: Any, now: float) -> None:
        # A daemon: a process that is stopped waits for no receiver, and the try is made again.
        thread = threading.Thread(target=self._try, args=(row, now), name="delivery", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # The machine has no thread to spare. The message is due again when its lease is over,
            # and nothing more is tried before the next wake-up.
            log.exception("delivery_failed", message_id=row.id)
            self._turns.give_back(row.owner, row.host)

    def _claim(self, now: float) -> list[Any]:
        """What is due, as far as there are places; these are then taken."""
        has_looked = self._is_woken() or not self._due
        if has_looked:
            self._look_for_hosts(now)
        rows = self._claim_known(now)
        if not rows and not self._due and not has_looked:
            self._look_for_hosts(now)
            rows = self._claim_known(now)
        return rows

    def _look_for_hosts(self, now: float) -> None:
        with self._context.database.read() as connection:
            self._due = set(queries.due_hosts(connection, now))

    def _is_woken(self) -> bool:
        """Whether somebody has something new to try since this was last asked."""
        with self._changed:
            woken, self._woken = self._woken, False
        return woken

    def _claim_known(self, now: float) -> list[Any]:
        """What is due to the hosts that the last look found.

        It is not looked for anew whenever a place comes free: an owner can have messages to as many
        hosts as they like, and each of these is a step of that look.
        """
        rows: list[Any] = []
        if self._turns.next_of(self._due) is None:
            return rows
        try:
            with self._context.database.write() as connection:
                while (to := self._turns.next_of(self._due)) is not None:
                    row = queries.claim_due(connection, to, now=now, lease_seconds=_LEASE_SECONDS)
                    if row is None:
                        self._due.remove(to)
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
            try_message(self._context, row, now, self._clock)
        except Exception:
            # The edge of this thread: the message is due again when its lease is over.
            log.exception("delivery_failed", message_id=row.id)
        finally:
            # Only now, for what was noted may concern the next one.
            with self._changed:
                self._turns.give_back(row.owner, row.host)
                self._look_again()
