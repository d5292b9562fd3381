"""A job's events, through as many connections as it takes."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx_sse

from service.client.errors import Unreachable
from service.client.http import Service
from service.client.retrying import Later

# A stream that lasted as long was no failure, though nothing may have happened.
_LASTING_SECONDS = 10.0

Event = tuple[str, Mapping[str, Any]]


class _Place:
    """How far the events have been read, and how soon the service lets one come again."""

    def __init__(self) -> None:
        self.last_id = 0
        self.retry_seconds: float | None = None

    def headers(self) -> dict[str, str]:
        """What a request says to go on from here."""
        resume = {"Last-Event-ID": str(self.last_id)} if self.last_id else {}
        return {"Accept": "text/event-stream", "Cache-Control": "no-store"} | resume

    def is_new(self, event: httpx_sse.ServerSentEvent) -> bool:
        """Whether the event has not been told yet; it has been then."""
        if event.retry is not None:
            self.retry_seconds = event.retry / 1000
        # What only says when to come again has no data.
        if not event.data or int(event.id) <= self.last_id:
            return False
        self.last_id = int(event.id)
        return True


def events(
    service: Service, path: str, now: Callable[[], float] = time.monotonic
) -> Iterator[Event]:
    """The type and the data of each event up to the end, none of them twice.

    A stream that is cut goes on after the last event that was read whole. Raises Refused, and
    Unreachable where no stream is to be had for as long as the service's patience lasts.
    """
    place, patience = _Place(), service.patience()
    while True:
        began, heard = now(), False
        try:
            with service.stream(path, place.headers()) as answer:
                for event in httpx_sse.EventSource(answer).iter_sse():
                    heard = True
                    if place.is_new(event):
                        patience.renew()
                        yield event.event, event.json()
                        if event.event == "end":
                            return
        except Later as trouble:
            later = trouble
        else:
            later = Later(Unreachable("the events ended before the job did"))
        if now() - began > _LASTING_SECONDS:
            patience.renew()
        if later.after_seconds is None:
            later.after_seconds = place.retry_seconds
        # That a stream is cut is no news; that no new one is to be had is.
        patience.pause(later, quietly=heard)
