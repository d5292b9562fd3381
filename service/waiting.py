"""Waiting for the end of a fit, or of a batch."""

import time
from collections.abc import Callable

import redis

from service.context import Context
from service.database import fits as queries
from service.schemas.common import TERMINAL

# The event wakes at once. This bounds how late an end is seen whose event redis lost.
_LOOK_AGAIN_SECONDS = 2.0


def has_ended(context: Context, fit_id: str) -> bool:
    """Whether the fit has ended."""
    with context.database.read() as connection:
        return queries.find_status(connection, fit_id) in TERMINAL


def wait_until_ended(
    context: Context,
    subject: str,
    seconds: float,
    should_stop: Callable[[], bool],
    has_ended: Callable[[Context, str], bool] = has_ended,
) -> None:
    """Block until the fit, or what else it is, has ended, `seconds` are over, or `should_stop()`.

    `has_ended` looks into the database, for an event can be lost.
    """
    deadline = time.monotonic() + seconds
    after = "0"
    while not should_stop() and (left := deadline - time.monotonic()) > 0:
        # The stream is read from its beginning, so that an end before this call counts as well.
        after, ended = _wait_for_event(context, subject, after, min(left, _LOOK_AGAIN_SECONDS))
        if ended or has_ended(context, subject):
            return


def _wait_for_event(context: Context, subject: str, after: str, seconds: float) -> tuple[str, bool]:
    try:
        return context.events.wait(subject, "end", after=after, seconds=seconds)
    except redis.RedisError:
        # The database is looked at again instead; the stream may begin anew meanwhile.
        time.sleep(min(seconds, 0.2))
        return "0", False
