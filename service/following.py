"""A job's events in one ascending order: those that its row tells, and its tale.

The row tells that it was queued, that it was first started, and how it ended; these have ids of
their own below and above all others, so that no two clocks can put them out of order. Everything
between comes from redis, and is lost where redis is flushed.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import orjson
import redis

from service.context import Context
from service.database import fits as queries
from service.events import Event
from service.schemas.common import TERMINAL

_QUEUED_ID = 1
_STARTED_ID = 2
# The largest integer that every reader of JSON keeps exactly.
END_ID = 2**53 - 1

# How late a start or an end is seen that redis did not tell of.
_LOOK_AGAIN_SECONDS = 2.0
_WITHOUT_REDIS_SECONDS = 0.5


def events_so_far(context: Context, fit_id: str, *, after: int) -> list[Event]:
    """What has happened to the job by now, after the event of that id."""
    events, _ = _look(context, fit_id, after, _hear(context, fit_id, after, 0))
    return events


def follow(
    context: Context, fit_id: str, *, after: int, should_stop: Callable[[], bool]
) -> Iterator[Sequence[Event]]:
    """The job's events after the one of that id as they come, up to its end.

    Where nothing happens it gives an empty sequence every 2 s.
    """
    heard = _hear(context, fit_id, after, 0)
    events, ended = _look(context, fit_id, after, heard)
    while True:
        yield events
        after = events[-1].id if events else after
        if ended or should_stop():
            return
        heard = _hear(context, fit_id, after, _LOOK_AGAIN_SECONDS)
        if heard and after >= _STARTED_ID:
            # It runs: the row, which costs more, tells nothing new.
            events = heard
        else:
            events, ended = _look(context, fit_id, after, heard)


def _hear(context: Context, fit_id: str, after: int, seconds: float) -> list[Event]:
    try:
        return context.events.hear(fit_id, after=after, seconds=seconds)
    except redis.RedisError:
        # The row is looked at instead.
        time.sleep(min(seconds, _WITHOUT_REDIS_SECONDS))
        return []


def _look(
    context: Context, fit_id: str, after: int, heard: Sequence[Event]
) -> tuple[list[Event], bool]:
    """What the row tells around what was heard, and whether that is all there will ever be."""
    with context.database.read() as connection:
        row = queries.find_state(connection, fit_id)
    if row is None:
        return [], True
    ended = row.status in TERMINAL
    if ended:
        # What was told between the two looks is no later than the end.
        last = heard[-1].id if heard else after
        heard = [*heard, *_hear(context, fit_id, last, 0)]
    started = [_status(_STARTED_ID, "running")] if row.started_at is not None else []
    end = [_event(END_ID, "end", row.status, row.stop_reason)] if ended else []
    told = [_status(_QUEUED_ID, "queued"), *started, *heard, *end]
    return [event for event in told if event.id > after], ended


def _status(event_id: int, status: str) -> Event:
    return _event(event_id, "status", status, None)


def _event(event_id: int, kind: str, status: str, stop_reason: Any) -> Event:
    return Event(event_id, kind, orjson.dumps({"status": status, "stop_reason": stop_reason}))
