"""A batch's events: how its counts change, from the database alone.

An event's id follows from how many fits have ended, and once the batch is cancelled it is above all
earlier ones: a client goes on where it was, whatever redis remembers. A late client is told of the
counts as they are, and not of each step to them.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import orjson
import redis

from service.batches import Progress, get_progress
from service.context import Context
from service.errors import Gone, NotFound
from service.events import Event
from service.following import END_ID
from service.schemas.common import TERMINAL

_QUEUED_ID = 1
_RUNNING_ID = 2
_LOOK_AGAIN_SECONDS = 1.0


def batch_events_so_far(context: Context, batch_id: str, owner: str, *, after: int) -> list[Event]:
    """What has happened to the batch by now, after the event of that id."""
    return _told(get_progress(context, batch_id, owner), after)


def follow_batch(
    context: Context, batch_id: str, owner: str, *, after: int, should_stop: Callable[[], bool]
) -> Iterator[Sequence[Event]]:
    """The batch's events after the one of that id as they come, up to its end.

    Where nothing happens it gives an empty sequence every second.
    """
    while True:
        try:
            batch = get_progress(context, batch_id, owner)
        except (NotFound, Gone):
            # It was deleted meanwhile: there is nothing more to tell.
            return
        events = _told(batch, after)
        yield events
        after = events[-1].id if events else after
        if batch.status in TERMINAL or should_stop():
            return
        _wait(context, batch_id)


def _wait(context: Context, batch_id: str) -> None:
    try:
        context.events.wait(batch_id, "end", after="0", seconds=_LOOK_AGAIN_SECONDS)
    except redis.RedisError:
        time.sleep(_LOOK_AGAIN_SECONDS)


def _told(batch: Progress, after: int) -> list[Event]:
    n_ended = sum(batch.counts[name] for name in TERMINAL)
    progress_id = _RUNNING_ID + n_ended
    told = [_event(_QUEUED_ID, "status", {"status": "queued"})]
    if batch.counts["queued"] < batch.n_fits:
        told.append(_event(_RUNNING_ID, "status", {"status": "running"}))
    if batch.is_cancelled:
        cancelling_id = _RUNNING_ID + batch.n_fits + 1
        progress_id = cancelling_id + n_ended
        told.append(_event(cancelling_id, "status", {"status": "cancelling"}))
    if n_ended:
        told.append(_event(progress_id, "progress", {"counts": batch.counts}))
    if batch.status in TERMINAL:
        end = {"status": batch.status, "counts": batch.counts}
        told.append(_event(END_ID, "end", end))
    return [event for event in told if event.id > after]


def _event(event_id: int, kind: str, data: Mapping[str, Any]) -> Event:
    return Event(event_id, kind, orjson.dumps(data))
