"""Server-sent events (the HTML standard's event streams), and how many are open at once."""

import socket
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Self

from flask import Response, request

from service.errors import InvalidInput, Place, TooManyStreams
from service.events import Event

# Each holds a thread: see `service.api.server`.
MOST_STREAMS = 128
MEDIA_TYPE = "text/event-stream"
LAST_EVENT_ID = "Last-Event-ID"

_RETRY_MILLISECONDS = 2_000
_COMMENT_SECONDS = 15.0
# The kernel's limit on one call; a write of much is two or three of them.
_WRITE_SECONDS = 10
_LONGEST_ID = 16

_free = threading.BoundedSemaphore(MOST_STREAMS)


def last_event_id() -> int:
    """The event after which the client goes on; 0 where it begins. Raises InvalidInput."""
    given = request.headers.get(LAST_EVENT_ID, "0")
    if not (given.isascii() and given.isdigit() and len(given) <= _LONGEST_ID):
        detail = f"the {LAST_EVENT_ID} must be the id of an event, a number"
        raise InvalidInput(detail, places=[Place("invalid_event_id", detail)])
    return int(given)


def event_stream(told: Iterator[Sequence[Event]]) -> Response:
    """The events as they come; raises TooManyStreams."""
    # Nobody would read what is sent to a HEAD, nor close it.
    body = () if request.method == "HEAD" else _Stream(told)
    _bound_writes()
    answer = Response(body, content_type=MEDIA_TYPE)
    answer.headers["Cache-Control"] = "no-store"
    # Proxies of nginx' kind would hold the events back.
    answer.headers["X-Accel-Buffering"] = "no"
    answer.vary.add("Accept")
    return answer


def _bound_writes() -> None:
    """Give up on a client that stays but reads nothing: it would hold a thread for ever."""
    connection = request.environ.get("gunicorn.socket")
    if connection is not None:
        within = struct.pack("ll", _WRITE_SECONDS, 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, within)


class _Stream:
    """A stream's bytes; it counts as open until it is closed."""

    def __init__(self, told: Iterator[Sequence[Event]]) -> None:
        if not _free.acquire(blocking=False):
            raise TooManyStreams(f"{MOST_STREAMS} event streams are open already")
        self._closed = False
        self._bytes = self._until_over(_written(told))

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        return next(self._bytes)

    def close(self) -> None:
        """Let another one in."""
        if not self._closed:
            self._closed = True
            _free.release()

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
