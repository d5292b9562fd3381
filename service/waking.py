"""Telling others about fits: workers that some wait, and waiters that one has ended."""

from collections.abc import Iterable, Sequence

import structlog

from service.context import Context
from service.database import life
from service.queue import BROKER_ERRORS

log = structlog.get_logger(__name__)


def wake(context: Context, queues: Iterable[str]) -> None:
    """Send for workers; where that fails the sweeper does it later, for the rows are there."""
    for queue in dict.fromkeys(queues):
        try:
            context.queue.wake(queue)
        except BROKER_ERRORS as error:
            log.warning("wake_up_failed", error=str(error), queue=queue)
            with context.database.write() as connection:
                life.mark_woken(connection, queue, None)


def announce_ends(context: Context, ends: Sequence[tuple[str, str, str]]) -> None:
    """Tell whoever waits: (id, status, stop_reason) each.

    Where that fails they find the end in the database.
    """
    told = [
        (fit_id, "end", {"status": status, "stop_reason": stop_reason})
        for fit_id, status, stop_reason in ends
    ]
    try:
        context.events.publish_all(told)
    except BROKER_ERRORS as error:
        log.warning("event_failed", error=str(error), fits=len(ends))
