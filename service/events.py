"""A fit's event stream on Redis Streams.

Events only tell that something happened; what happened stands in the database. A flushed redis
loses the telling, never the fact, so that whoever waits looks at the database now and then.
"""

import time
from collections.abc import Iterable, Mapping
from typing import Any

import orjson
import redis

# An event's id and its fields, as redis gives them.
_Entry = tuple[bytes, dict[bytes, bytes]]

_KEPT_EVENTS = 10_000
_KEPT_SECONDS = 86_400
_LONGEST_BLOCK_SECONDS = 2.0


class Events:
    """Streams of events by id of what they speak of; safe to share between threads."""

    def __init__(self, client: redis.Redis) -> None:
        self.client = client

    def publish(self, subject: str, kind: str, data: Mapping[str, Any]) -> None:
        """Add one event to the subject's stream."""
        self.publish_all([(subject, kind, data)])

    def publish_all(self, events: Iterable[tuple[str, str, Mapping[str, Any]]]) -> None:
        """Add each event (subject, kind, data) to its subject's stream, in one round trip."""
        pipe = self.client.pipeline(transaction=False)
        for subject, kind, data in events:
            key = _key(subject)
            pipe.xadd(
                key,
                {"type": kind, "data": orjson.dumps(data)},
                maxlen=_KEPT_EVENTS,
                approximate=True,
            )
            pipe.expire(key, _KEPT_SECONDS)
        pipe.execute()

    def wait(self, subject: str, kind: str, *, after: str, seconds: float) -> tuple[str, bool]:
        """Block until an event of `kind` comes or the time is up.

        Returns the last event id read, from which to go on, and whether `kind` was among them.
        """
        entries = self._read(subject, after=after, seconds=seconds)
        if not entries:
            return after, False
        return entries[-1][0].decode(), any(f[b"type"] == kind.encode() for _, f in entries)

    def first(self, subject: str, *, seconds: float) -> tuple[str, dict[str, Any]] | None:
        """Block until the subject's first event; its kind and data, or None when time is up."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            # The client gives up on a socket that is silent for longer.
            entries = self._read(subject, after="0", seconds=min(left, _LONGEST_BLOCK_SECONDS))
            if entries:
                _, fields = entries[0]
                return fields[b"type"].decode(), orjson.loads(fields[b"data"])
        return None

    def forget(self, subject: str) -> None:
        """Drop the subject's stream: nobody reads it any more."""
        self.client.delete(_key(subject))

    def _read(self, subject: str, *, after: str, seconds: float) -> list[_Entry]:
        # redis reads a block of 0 as "for ever".
        block_milliseconds = max(1, int(seconds * 1000))
        answer: Any = self.client.xread({_key(subject): after}, block=block_milliseconds)
        return answer[0][1] if answer else []

    def check(self) -> None:
        """Raise redis' own error where it does not answer."""
        self.client.ping()

    def close(self) -> None:
        """Give every connection back."""
        self.client.close()


def _key(subject: str) -> str:
    return f"thalweg:events:{subject}"
