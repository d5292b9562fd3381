"""One client of a load: its connection, its dice, and what it knows of the service."""

import http.client
import random
import socket
import threading
import time
from collections.abc import Collection, Mapping
from contextlib import closing
from typing import Any

import orjson

from tests.benchmarks.load.tally import Answer, Tally

JSON = "application/json"
# What is answered with the id of something that has an end.
_TAKING = ("POST /v1/fits", "POST /v1/lr-range-tests")
# A waiting request holds its answer for half of this.
_TIMEOUT_SECONDS = 60
_REMEMBERED = 20
_SHOWN_BYTES = 300


class Ledger:
    """Which fits and range tests a service has taken, and which were deleted since; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: set[str] = set()
        self._deleted: set[str] = set()
        self._n_deleted = 0

    def take(self, job_id: str) -> None:
        """Note one that was answered with its id."""
        with self._lock:
            self._taken.add(job_id)

    def delete(self, deleted_id: str, n_fits: int = 1) -> None:
        """Note one that was deleted, or a batch of so many."""
        with self._lock:
            self._deleted.add(deleted_id)
            self._n_deleted += n_fits

    @property
    def n_deleted(self) -> int:
        """How many were deleted."""
        return self._n_deleted

    def lost(self, found: Collection[str]) -> set[str]:
        """Those that were taken, not deleted, and are not among the ones found."""
        return self._taken - self._deleted - set(found)


class Client:
    """A client that sends one request after the other over a connection of its own.

    `dataset` is the id of a table x, y that nobody deletes; `ended` are fits of the client's own
    that have succeeded.
    """

    def __init__(self, address: str, dataset: str, seed: str, ledger: Ledger) -> None:
        self.host, _, port = address.partition(":")
        self.port = int(port)
        self.dataset = dataset
        self.dice = random.Random(seed)  # noqa: S311
        self.ended: list[dict[str, Any]] = []
        self.ledger = ledger
        self.tally = Tally()
        self._connection = http.client.HTTPConnection(
            self.host, self.port, timeout=_TIMEOUT_SECONDS
        )

    def call(
        self,
        operation: str,
        request: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        expect: Collection[int] = (200,),
    ) -> Answer | None:
        """Send a request like `GET /v1/fits`, and count its answer; None where there was none.

        A body that is no bytes goes as JSON. Any other status than the expected ones is a fault.
        """
        method, _, path = request.partition(" ")
        content = body if body is None or isinstance(body, bytes) else orjson.dumps(body)
        given = ({} if content is None else {"Content-Type": JSON}) | dict(headers or {})
        began = time.perf_counter()
        answer = self._answer(method, path, content, given)
        seconds = time.perf_counter() - began
        shown = f"{request} {given} {(content or b'')[:_SHOWN_BYTES]!r}"
        self.tally.count(operation, shown, answer, seconds, expect)
        if request in _TAKING and answer is not None and answer.status in (200, 202):
            self.ledger.take(answer.json()["id"])
        return answer

    def _answer(
        self, method: str, path: str, content: bytes | None, headers: Mapping[str, str]
    ) -> Answer | None:
        try:
            try:
                self._connection.request(method, path, content, dict(headers))
            except (BrokenPipeError, ConnectionResetError):
                # Whoever refuses a body before its end has answered all the same.
                if self._connection.sock is None:
                    return None
            got = self._connection.getresponse()
            return Answer(got.status, dict(got.headers), got.read())
        except (OSError, http.client.HTTPException):
            self._connection.close()
            return None

    def call_raw(self, operation: str, content: bytes, *, expect: Collection[int]) -> None:
        """Send these bytes over a connection of their own, and count the first line back."""
        began = time.perf_counter()
        with closing(self.connect()) as connection:
            connection.sendall(content)
            connection.shutdown(socket.SHUT_WR)
            line = connection.makefile("rb").readline()
        seconds = time.perf_counter() - began
        answer = Answer(int(line.split()[1]), {}, line) if line.startswith(b"HTTP/") else None
        self.tally.count(operation, repr(content[:_SHOWN_BYTES]), answer, seconds, expect)

    def connect(self) -> socket.socket:
        """A connection beside the client's own one."""
        return socket.create_connection((self.host, self.port), _TIMEOUT_SECONDS)

    def remember(self, fit: dict[str, Any]) -> None:
        """Keep a fit that has succeeded, for what can be asked of such."""
        self.ended.append(fit)
        # Nobody asks for the oldest any more.
        del self.ended[:-_REMEMBERED]

    def close(self) -> None:
        """Hang up."""
        self._connection.close()
