"""Events on Redis Streams: what happens to jobs, told to whoever listens.

Events only tell that something happened; what happened stands in the database. A flushed redis
loses the telling, never the fact, so that whoever waits looks at the database now and then.

A subject has two streams. Its calls are few, and wake whoever waits for them: a job's end, an
errand's outcome. Its tale is what a long job tells while it runs.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import redis

from service.chunks import chunks

# An event's id and its fields, as redis gives them.
_Entry = tuple[bytes, dict[bytes, bytes]]
Told = tuple[str, Mapping[str, Any]]

# Whoever is called listens already, or finds the fact in the database. A minute of small fits, a
# few thousand a second, is all that redis has to hold.
_CALLS_KEPT_SECONDS = 60
_TALE_KEPT_SECONDS = 86_400
_MOST_CALLS = 100
_MOST_TOLD = 10_000
_LONGEST_BLOCK_SECONDS = 2.0
# Redis counts the events of one millisecond.
_IDS_A_MILLISECOND = 1_000


@dataclass(frozen=True)
class Event:
    """One event of a subject's tale: ids ascend, and `data` is JSON."""

    id: int
    type: str
    data: bytes


# One command for any number of events: a command each would take longer to send than small fits
# take to compute.
_PUBLISH = """
for i, key in ipairs(KEYS) do
  redis.call('XADD', key, 'MAXLEN', '~', ARGV[1], '*',
             'type', ARGV[2 * i + 1], 'data', ARGV[2 * i + 2])
  redis.call('EXPIRE', key, ARGV[2])
end
"""
_AT_ONCE = 500

# A worker that lost its claim may not know yet. Whoever claimed later has the larger fence.
_TELL = """
local fence = tonumber(ARGV[3])
if fence > 0 then
  if fence < tonumber(redis.call('GET', KEYS[2]) or '0') then return end
  redis.call('SET', KEYS[2], fence, 'EX', ARGV[2])
end
for i = 4, #ARGV, 2 do
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'type', ARGV[i], 'data', ARGV[i + 1])
end
redis.call('EXPIRE', KEYS[1], ARGV[2])
"""


class Events:
    """Streams of events by id of what they speak of; safe to share between threads."""

    def __init__(self, client: redis.Redis) -> None:
        self.client = client
        self._publish = client.register_script(_PUBLISH)
        self._tell = client.register_script(_TELL)

    def publish(self, subject: str, kind: str, data: Mapping[str, Any]) -> None:
        """Call whoever waits for the subject."""
        self.publish_all([(subject, kind, data)])

    def publish_all(self, calls: Iterable[tuple[str, str, Mapping[str, Any]]]) -> None:
        """Make each call (subject, kind, data), many in one round trip."""
        for some in chunks(calls, _AT_ONCE):
            told: list[Any] = [_MOST_CALLS, _CALLS_KEPT_SECONDS]
            for _, kind, data in some:
                told += (kind, orjson.dumps(data))
            self._publish(keys=[_calls(subject) for subject, _, _ in some], args=told)

    def tell(self, subject: str, told: Sequence[Told], *, fence: int = 0) -> None:
        """Add events (kind, data) to the subject's tale, in one round trip.

        With a claim's fence nothing is added once a later claim has told something.
        """
        args: list[Any] = [_MOST_TOLD, _TALE_KEPT_SECONDS, fence]
        for kind, data in told:
            args += (kind, orjson.dumps(data))
        self._tell(keys=[_tale(subject), _fence(subject)], args=args)

    def hear(self, subject: str, *, after: int, seconds: float) -> list[Event]:
        """The subject's tale after the event of that id: what there is, or the next of it.

        Where there is none it blocks until there is, the subject is called or the time is up; a
        call that was made before wakes at once. With 0 seconds it does not block.
        """
        milliseconds, count = divmod(after, _IDS_A_MILLISECOND)
        keys = {_tale(subject): f"{milliseconds}-{count}"}
        if seconds > 0:
            keys[_calls(subject)] = "0"
        entries = self._read(keys, seconds).get(_tale(subject), [])
        return [_event(entry) for entry in entries]

    def wait(self, subject: str, kind: str, *, after: str, seconds: float) -> tuple[str, bool]:
        """Block until a call of `kind` comes or the time is up.

        Returns the last call's id read, from which to go on, and whether `kind` was among them.
        """
        entries = self._called(subject, after=after, seconds=seconds)
        if not entries:
            return after, False
        return entries[-1][0].decode(), any(f[b"type"] == kind.encode() for _, f in entries)

    def first(self, subject: str, *, seconds: float) -> tuple[str, dict[str, Any]] | None:
        """Block until the subject's first call; its kind and data, or None when time is up."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            # The client gives up on a socket that is silent for longer.
            entries = self._called(subject, after="0", seconds=min(left, _LONGEST_BLOCK_SECONDS))
            if entries:
                _, fields = entries[0]
                return fields[b"type"].decode(), orjson.loads(fields[b"data"])
        return None

    def forget(self, subject: str) -> None:
        """Drop the subject's calls: nobody waits for them any more."""
        self.client.delete(_calls(subject))

    def _called(self, subject: str, *, after: str, seconds: float) -> list[_Entry]:
        return self._read({_calls(subject): after}, seconds).get(_calls(subject), [])

    def _read(self, after: dict[Any, Any], seconds: float) -> dict[str, list[_Entry]]:
        # redis reads a block of 0 as "for ever".
        block = max(1, int(seconds * 1000)) if seconds > 0 else None
        answer: Any = self.client.xread(after, block=block)
        return {key.decode(): entries for key, entries in answer or ()}

    def check(self) -> None:
        """Raise redis' own error where it does not answer."""
        self.client.ping()

    def close(self) -> None:
        """Give every connection back."""
        self.client.close()


def _event(entry: _Entry) -> Event:
    at, fields = entry
    milliseconds, _, count = at.decode().partition("-")
    number = int(milliseconds) * _IDS_A_MILLISECOND + int(count)
    return Event(number, fields[b"type"].decode(), fields[b"data"])


def _calls(subject: str) -> str:
    return f"thalweg:events:{subject}"


def _tale(subject: str) -> str:
    return f"thalweg:tales:{subject}"


def _fence(subject: str) -> str:
    return f"thalweg:fences:{subject}"
