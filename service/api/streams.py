"""Server-sent events (the HTML standard's event streams): how many are open, and how long."""

import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, Self

from flask import Response, request

from service.api.requests import context, key_holds
from service.api.waiting import draining
from service.errors import InvalidInput, Place, TooManyStreams
from service.events import Event
from service.places import Places

# Each holds a thread: see `service.api.server`.
MOST_STREAMS = 128
MEDIA_TYPE = "text/event-stream"
LAST_EVENT_ID = "Last-Event-ID"

_RETRY_MILLISECONDS = 2_000
_COMMENT_SECONDS = 15.0
# The kernel's limit on one call; a write of much is two or three of them.
_WRITE_SECONDS = 10
_LONGEST_ID = 16

_places = Places(MOST_STREAMS, "event streams", TooManyStreams)


class Follow(Protocol):
    """Gives events as they come, up to their end or until `should_stop()`.

    It asks at every sequence of events, and gives an empty one every few seconds.
    """

    def __call__(self, *, should_stop: Callable[[], bool]) -> Iterator[Sequence[Event]]: ...


def last_event_id() -> int:
    """The event after which the client goes on; 0 where it begins. Raises InvalidInput."""
    given = request.headers.get(LAST_EVENT_ID, "0")
    if not (given.isascii() and given.isdigit() and len(given) <= _LONGEST_ID):
        detail = f"the {LAST_EVENT_ID} must be the id of an event, a number"
        raise InvalidInput(detail, places=[Place("invalid_event_id", detail)])
    return int(given)


def event_stream(follow: Follow) -> Response:
    """The events as they come; raises TooManyStreams and QuotaExceeded.

    It ends early, so that the client comes again after its last event, where the process is stopped
    or `stream_seconds` are over; and where its key has been revoked.
    """
    # First, for it fails where the client is gone, and a stream holds a place.
    _bound_writes()
    # Nobody would read what is sent to a HEAD, nor close it.
    body = () if request.method == "HEAD" else _Stream(follow, context().caller.owner, _ending())
    answer = Response(body, content_type=MEDIA_TYPE)
    answer.headers["Cache-Control"] = "no-store"
    # Proxies of nginx' kind would hold the events back.
    answer.headers["X-Accel-Buffering"] = "no"
    answer.vary.add("Accept")
    return answer


def _ending() -> Callable[[], bool]:
    """What says whether the stream that begins now is to end."""
    until = time.monotonic() + context().settings.stream_seconds
    holds = key_holds()
    return lambda: draining() or time.monotonic() > until or not holds()


def _bound_writes() -> None:
    """Give up on a client that stays but reads nothing: it would hold a thread for ever."""
    connection = request.environ.get("gunicorn.socket")
    if connection is not None:
        within = struct.pack("ll", _WRITE_SECONDS, 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, within)


class _Stream:
    """A stream's bytes; it counts as open until it is closed."""

    def __init__(self, follow: Follow, owner: str | None, should_stop: Callable[[], bool]) -> None:
        _places.take(owner)
        self._owner = owner
        self._closed = False
        self._bytes = self._until_over(_written(follow(should_stop=should_stop)))

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        return next(self._bytes)

    def close(self) -> None:
        """Let another one in."""
        if not self._closed:
            self._closed = True
            _places.give_back(self._owner)

    def _until_over(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        try:
            yield from pieces
        finally:
            self.close()


def _written(told: Iterator[Sequence[Event]]) -> Iterator[bytes]:
    yield b"retry: %d\n\n" % _RETRY_MILLISECONDS
    spoke = time.monotonic()
    for events in told:
        if events:
            yield b"".join(map(_block, events))
            spoke = time.monotonic()
        elif time.monotonic() - spoke > _COMMENT_SECONDS:
            yield b": still here\n\n"
            spoke = time.monotonic()


def _block(event: Event) -> bytes:
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.id, event.type.encode(), event.data)
