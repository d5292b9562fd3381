"""Clients that send jobs while the service is hurt, and come again until each is taken."""

import random
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import httpx

from tests.faults.jobs import KINDS, Job, with_webhook
from tests.faults.results import TERMINAL

_LONGEST_PAUSE_SECONDS = 1.2
_PATIENCE_SECONDS = 180.0
# A burst of these is claimed together.
_BURST = 8
_KNOCK_SECONDS = 0.5
# One that waits, and one that does not.
_LEAST_KNOCKS = 2


@dataclass
class Accepted:
    """A job that was answered with 2xx: `body` is as it was taken."""

    job: Job
    body: dict[str, Any]
    shown: dict[str, Any] = field(default_factory=dict)


class Client:
    """Asks as clients should: under a key, and again where no answer came."""

    def __init__(self, url: str, hook: str) -> None:
        self.url = url
        self._hook = hook
        # A connection a request, so that each meets whatever answers just then.
        limits = httpx.Limits(max_keepalive_connections=0)
        self._http = httpx.Client(base_url=url, limits=limits, timeout=60)
        self.n_lost_answers = 0

    def post(self, job: Job, key: str) -> Accepted:
        """Send it until it is taken."""
        headers = {"Idempotency-Key": key}
        body = with_webhook(job, self._hook)
        answer = self._insist("POST", job.path, json=body, headers=headers)
        assert answer.status_code in (200, 202), answer.text
        return Accepted(job, answer.json())

    def try_to_post(self, job: Job, key: str, *, waits: bool) -> httpx.Response | None:
        """Send it once; the answer, None where none came."""
        headers = {"Idempotency-Key": key} | ({"Prefer": "wait=5"} if waits else {})
        body = with_webhook(job, self._hook)
        try:
            return self._http.post(job.path, json=body, headers=headers)
        except httpx.HTTPError:
            return None

    def cancel(self, accepted: Accepted) -> None:
        """Ask for its end; it may have been asked before, or have ended."""
        answer = self._insist("POST", _path(accepted.body) + "/cancel")
        assert answer.status_code in (200, 202, 409), answer.text

    def show(self, accepted: Accepted, wait_seconds: int = 0) -> dict[str, Any]:
        """The job as it is now."""
        headers = {"Prefer": f"wait={wait_seconds}"}
        answer = self._insist("GET", _path(accepted.body), headers=headers)
        assert answer.status_code == 200, answer.text
        shown: dict[str, Any] = answer.json()
        return shown

    def end(self, accepted: Accepted, seconds: float) -> dict[str, Any]:
        """The job when it has ended; as it is where that takes longer than `seconds`."""
        deadline = time.monotonic() + seconds
        shown = self.show(accepted)
        while shown["status"] not in TERMINAL and time.monotonic() < deadline:
            shown = self.show(accepted, 20)
        return shown

    def _insist(self, method: str, path: str, **request: Any) -> httpx.Response:
        """Ask until something but a failure for now is answered."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                answer = self._http.request(method, path, **request)
                if not _comes_again(answer):
                    return answer
                said = answer.text
            except httpx.HTTPError as error:
                said = repr(error)
            self.n_lost_answers += 1
            assert time.monotonic() < deadline, f"{method} {path}: {said}"
            time.sleep(0.3)


class Knocking:
    """A thread that sends a job twice a second, every other time to wait for its end.

    `keys` are those of all that were sent, `answers` what each was answered, None for nothing.
    """

    def __init__(self, client: Client, job: Job) -> None:
        self._client = client
        self._job = job
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._knock, name="knocking", daemon=True)
        self.keys: list[str] = []
        self.answers: list[httpx.Response | None] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join(_PATIENCE_SECONDS)
        assert not self._thread.is_alive()

    def accepted(self) -> list[Accepted]:
        """Every job, sent again where it was not taken then."""
        return [self._client.post(self._job, key) for key in self.keys]

    def _knock(self) -> None:
        while not (self._is_over.is_set() and len(self.answers) >= _LEAST_KNOCKS):
            key, waits = str(uuid.uuid4()), len(self.keys) % 2 == 1
            self.keys.append(key)
            self.answers.append(self._client.try_to_post(self._job, key, waits=waits))
            time.sleep(_KNOCK_SECONDS)


class Traffic:
    """A thread that sends drawn jobs until it is stopped; `accepted` grows."""

    def __init__(self, client: Client, seed: int, kinds: Sequence[Sequence[Job]] = KINDS) -> None:
        self._client = client
        self._kinds = kinds
        # Seeded, so that a campaign draws the same jobs again.
        self._random = random.Random(seed)  # noqa: S311
        self._seed = seed
        self._stopped = threading.Event()
        self._may_send = threading.Event()
        self._may_send.set()
        self._thread = threading.Thread(target=self._send, name="traffic", daemon=True)
        self.accepted: list[Accepted] = []
        self.crashed: BaseException | None = None

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Send nothing within the block."""
        self._may_send.clear()
        yield
        self._may_send.set()

    def stop(self) -> None:
        """Send no more; raises what went wrong."""
        self._stopped.set()
        self._thread.join(2 * _PATIENCE_SECONDS)
        if self.crashed is not None:
            raise self.crashed

    def _send(self) -> None:
        try:
            while not self._stopped.is_set():
                self._may_send.wait()
                self._send_one()
                self._stopped.wait(self._random.uniform(0, _LONGEST_PAUSE_SECONDS))
        except BaseException as error:
            # The edge of this thread: whoever stops it raises it.
            self.crashed = error

    def _send_one(self) -> None:
        job = self._random.choice(self._random.choice(self._kinds))
        n = _BURST if job.name.startswith("short") and self._random.random() < 0.3 else 1
        for _ in range(n):
            key = f"{self._seed}-{len(self.accepted)}"
            self.accepted.append(self._client.post(job, key))
        if job.cancelled:
            time.sleep(self._random.uniform(0, 1.5))
            self._client.cancel(self.accepted[-1])
        if self._random.random() < 0.2:
            break_off(self._client.url, self._random)


def break_off(url: str, draws: random.Random) -> None:
    """Begin a request and go away: in its head, in its body, or while it waits."""
    head = b"POST /v1/fits HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    begun = draws.choice(
        [
            head,
            head + b"Content-Length: 5000\r\n\r\n" + b'{"dataset":',
            b"GET /v1/fits?limit=1000 HTTP/1.1\r\nHost: x\r\n\r\n",
        ]
    )
    host, _, port = url.removeprefix("http://").partition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            connection.sendall(begun)
    except OSError:
        # The API is away as well.
        return


def _comes_again(answer: httpx.Response) -> bool:
    in_flight = answer.status_code == 409 and "in_flight" in answer.text
    return answer.status_code >= 500 or in_flight


def _path(body: dict[str, Any]) -> str:
    return "/" + str(body["urls"]["self"]).split("/", 3)[3]
