"""A job's events, through as many connections as it takes."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx_sse

from service.client.errors import Unreachable
from service.client.http import Service
from service.client.retrying import Later

# A stream that lasted as long was no failure, though nothing may have happened.
_LASTING_SECONDS = 10.0
# At least, before the next stream after one that the service has ended.
_BETWEEN_SECONDS = 0.5
# A service that says more than that is misunderstood.
_LONGEST_RETRY_SECONDS = 60.0
_LONGEST_ID = 16

Event = tuple[str, Mapping[str, Any]]


class _Place:
    """How far the events have been read, and how soon the service lets one come again."""

    def __init__(self) -> None:
        self.last_id = 0
        self.retry_seconds: float | None = None
        # Of the stream that is read now: whether it has said anything, whether that was news, and
        # the last of its ids.
        self.heard = False
        self.told = False
        self._named = ""

    def begin(self) -> dict[str, str]:
        """What a request says to go on from here; its stream is the one that is read now."""
        self.heard, self.told, self._named = False, False, ""
        resume = {"Last-Event-ID": str(self.last_id)} if self.last_id else {}
        return {"Accept": "text/event-stream", "Cache-Control": "no-store"} | resume

    def is_new(self, event: httpx_sse.ServerSentEvent) -> bool:
        """Whether the event has not been told yet; it has been then. Raises Unreachable."""
        self.heard = True
        if event.retry is not None:
            self.retry_seconds = min(event.retry / 1000, _LONGEST_RETRY_SECONDS)
        # What only says when to come again has no data.
        if not event.data:
            return False
        # An event without an id goes by the one before it: there is nothing to tell it by.
        if event.id not in ("", self._named):
            number = _number(event.id)
            self._named = event.id
            if number <= self.last_id:
                return False
            self.last_id = number
        self.told = True
        return True


def events(
    service: Service,
    path: str,
    has_ended: Callable[[], bool],
    now: Callable[[], float] = time.monotonic,
) -> Iterator[Event]:
    """The type and the data of each event up to the end, none with an id twice.

    A stream that is cut goes on after the last event that was read whole, and so does one that the
    service has ended, as it does with each after some time. Where that one had no news,
    `has_ended` says whether the job has, without an event. Raises Refused, and Unreachable where
    no stream is to be had for as long as the service's patience lasts.
    """
    place, patience = _Place(), service.patience()
    while True:
        began = now()
        try:
            for kind, data in _stream(service, path, place):
                patience.renew()
                yield kind, data
                if kind == "end":
                    return
        except Later as trouble:
            later = trouble
        else:
            if place.heard:
                if not place.told and has_ended():
                    return
                patience.rest(max(_BETWEEN_SECONDS, place.retry_seconds or 0.0))
                continue
            later = Later(Unreachable("the events ended before the job did"))
        if now() - began > _LASTING_SECONDS:
            patience.renew()
        if later.after_seconds is None:
            later.after_seconds = place.retry_seconds
        # That a stream is cut is no news; that no new one is to be had is.
        patience.pause(later, quietly=place.heard)


def _stream(service: Service, path: str, place: _Place) -> Iterator[Event]:
    """What one connection tells that is new; raises Later where it is cut, beside the others."""
    with service.stream(path, place.begin()) as answer:
        for event in httpx_sse.EventSource(answer).iter_sse():
            if place.is_new(event):
                yield event.event, _data(event)


def _number(event_id: str) -> int:
    if not (event_id.isascii() and event_id.isdigit() and len(event_id) <= _LONGEST_ID):
        raise Unreachable(f"the events are none of Thalweg's: one has the id {event_id[:40]!r}")
    return int(event_id)


def _data(event: httpx_sse.ServerSentEvent) -> Mapping[str, Any]:
    try:
        found = json.loads(event.data)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Unreachable(
            f"the events are none of Thalweg's: a {event.event[:40]!r} is no JSON object"
        )
    return found
