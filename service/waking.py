"""Telling others about fits: workers that one waits, and waiters that it has ended."""

from collections.abc import Sequence

import structlog

from service.context import Context
from service.database import fits as queries
from service.queue import BROKER_ERRORS

log = structlog.get_logger(__name__)


def wake(context: Context, ids: Sequence[str]) -> None:
    """Send for workers; where that fails the sweeper does it later, for the rows are there."""
    try:
        for fit_id in ids:
            context.queue.fit(fit_id)
    except BROKER_ERRORS as error:
        log.warning("wake_up_failed", error=str(error), fits=len(ids))
        with context.database.write() as connection:
            queries.mark_woken(connection, ids, None)


def announce_end(context: Context, fit_id: str, status: str, stop_reason: str) -> None:
    """Tell whoever waits; where that fails they find the end in the database."""
    try:
        context.events.publish(fit_id, "end", {"status": status, "stop_reason": stop_reason})
    except BROKER_ERRORS as error:
        log.warning("event_failed", error=str(error), fit_id=fit_id)
