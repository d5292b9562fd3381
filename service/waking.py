"""Telling others about fits: workers that some wait, and waiters that one has ended."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import structlog

from service.context import Context
from service.database import life
from service.metrics import count_end
from service.queue import BROKER_ERRORS
from service.webhooks import Ended

log = structlog.get_logger(__name__)


def wake(context: Context, queues: Iterable[str]) -> None:
    """Send for workers; where that fails the sweeper does it later, for the rows are there."""
    for queue in dict.fromkeys(queues):
        _send(context, queue, context.queue.wake)


def wake_again(context: Context, queue: str) -> None:
    """Send for a worker anew: the wake-up that was sent is lost."""
    _send(context, queue, context.queue.wake_again)


def _send(context: Context, queue: str, wake_one: Callable[[str], None]) -> None:
    try:
        wake_one(queue)
    except BROKER_ERRORS as error:
        log.warning("wake_up_failed", error=str(error), queue=queue)
        with context.database.write() as connection:
            life.mark_woken(connection, queue, None)


def heard(context: Context, queue: str) -> None:
    """Note that a wake-up has come: whoever queues a fit from now on sends another one."""
    try:
        context.queue.heard(queue)
    except BROKER_ERRORS as error:
        # For a moment, then, none is sent; what was queued in it the sweeper finds.
        log.warning("wake_up_not_noted", error=str(error), queue=queue)


def tell_status(context: Context, status: str, fences: Mapping[str, int]) -> None:
    """Tell whoever listens of a status, by id, that no row will still show later.

    With a fence above 0 no earlier claim's worker tells anything after it.
    """
    told = [("status", {"status": status, "stop_reason": None})]
    try:
        for fit_id, fence in fences.items():
            context.events.tell(fit_id, told, fence=fence)
    except BROKER_ERRORS as error:
        log.warning("event_failed", error=str(error), fits=len(fences))


def announce_ends(
    context: Context,
    ends: Sequence[Ended],
    batches: Iterable[str] = (),
    results: Mapping[str, Mapping[str, Any] | None] | None = None,
) -> None:
    """Tell whoever waits of each job's end, and of the batches that are over; operators too.

    A worker is sent for where messages are owed. Where that fails they find the end in the
    database. `results` are by the ids of jobs that have one.
    """
    for one in ends:
        count_end(one.kind, one.status, one.stop_reason, (results or {}).get(one.job_id))
    calls: list[tuple[str, str, dict[str, str]]] = [
        (one.job_id, "end", {"status": one.status, "stop_reason": one.stop_reason}) for one in ends
    ]
    calls += [(batch_id, "end", {}) for batch_id in batches]
    if not calls:
        return
    try:
        context.events.publish_all(calls)
        if any(one.address is not None for one in ends):
            context.queue.deliver()
    except BROKER_ERRORS as error:
        log.warning("event_failed", error=str(error), fits=len(ends))
