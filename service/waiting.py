"""Waiting for a fit's end."""

import time
from collections.abc import Callable

import redis

from service.context import Context
from service.database import fits as queries
from service.schemas.common import TERMINAL

# The event wakes at once. This bounds how late an end is seen whose event redis lost.
_LOOK_AGAIN_SECONDS = 2.0


def wait_until_ended(
    context: Context, fit_id: str, seconds: float, should_stop: Callable[[], bool]
) -> None:
    """Block until the fit has ended, `seconds` are over, or `should_stop()`."""
    deadline = time.monotonic() + seconds
    after = "0"
    while not should_stop() and (left := deadline - time.monotonic()) > 0:
        # The stream is read from its beginning, so that an end before this call counts as well.
        after, ended = _wait_for_event(context, fit_id, after, min(left, _LOOK_AGAIN_SECONDS))
        if ended or _has_ended(context, fit_id):
            return


def _wait_for_event(context: Context, fit_id: str, after: str, seconds: float) -> tuple[str, bool]:
    try:
        return context.events.wait(fit_id, "end", after=after, seconds=seconds)
    except redis.RedisError:
        # The database is looked at again instead; the stream may begin anew meanwhile.
        time.sleep(min(seconds, 0.2))
        return "0", False


def _has_ended(context: Context, fit_id: str) -> bool:
    with context.database.read() as connection:
        return queries.find_status(connection, fit_id) in TERMINAL
