"""The load's accounting: what is a fault, what is growth, and that no fit is lost."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from http.server import BaseHTTPRequestHandler
from subprocess import PIPE
from typing import Any

import httpx
import pytest

from tests.benchmarks.load.bad import BAD
from tests.benchmarks.load.client import Client, Ledger
from tests.benchmarks.load.ends import faults_of_ends
from tests.benchmarks.load.good import GOOD, columns, spec
from tests.benchmarks.load.growth import (
    MOST_DESCRIPTORS,
    MOST_MEMORY_BYTES,
    MOST_REDIS_BYTES_A_FIT,
    Sample,
    Watch,
    come_and_gone,
    growth,
)
from tests.benchmarks.load.tally import Answer, fault_of
from tests.serving import HttpServer

FULL = (503, {"Retry-After": "5"}, {"code": "queue_full"})
MB = 10**6

Answered = tuple[int, Mapping[str, str], Any]
Serve = Callable[[Mapping[str, Answered]], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve a stand-in that answers as told by path; a path that it lacks it hangs up at."""
    with ExitStack() as stack:

        def begin(answers: Mapping[str, Answered]) -> str:
            class Handler(BaseHTTPRequestHandler):
                protocol_version = "HTTP/1.1"

                def do_GET(self) -> None:
                    self.rfile.read(int(self.headers.get("Content-Length", 0)))
                    found = answers.get(self.path.partition("?")[0])
                    if found is None:
                        self.close_connection = True
                        return
                    status, headers, body = found
                    content = body if isinstance(body, bytes) else json.dumps(body).encode()
                    self.send_response(status)
                    for name, value in {**headers, "Content-Length": str(len(content))}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(content)

                do_POST = do_GET  # noqa: N815 (http.server's name)

                def log_message(self, *_: object) -> None:
                    pass

            server = stack.enter_context(HttpServer(0, Handler))
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            return f"127.0.0.1:{server.server_port}"

        yield begin


def client_of(address: str, seed: str = "0") -> Client:
    return Client(address, "ds_1", seed, Ledger())


def test_answers_are_counted_and_faults_told(serve: Serve) -> None:
    # given a service of which some parts fail, one is full and one hangs up
    answers: dict[str, Answered] = {
        "/fine": (200, {}, {}),
        "/refused": (422, {}, {}),
        "/crashed": (500, {}, {"code": "internal_error"}),
        "/away": (503, {"Retry-After": "5"}, {"code": "unavailable"}),
        "/full": FULL,
    }
    with closing(client_of(serve(answers))) as client:
        # when each is called twice
        for path in (*answers, "/silent"):
            for _ in range(2):
                client.call("any", f"POST {path}", {"mark": path})

    # then all are counted, and those that must not have been are told with what was sent
    counted = client.tally.as_json()["any"]
    assert counted["answers"] == {"2xx": 2, "4xx": 2, "5xx": 6, "no answer": 2}
    assert 0 < counted["median_seconds"] <= counted["p99_seconds"]
    assert client.tally.n_answers == 12
    faults = client.tally.faults
    assert len(faults) == 8
    for path, reason in (("/refused", "422"), ("/crashed", "500"), ("/away", "503")):
        (told, _) = (fault for fault in faults if f"POST {path}" in fault)
        assert f'{{"mark":"{path}"}}' in told
        assert f": {reason} " in told
    assert sum("no answer" in fault for fault in faults) == 2


@pytest.mark.parametrize(
    ("answer", "expected", "is_fault"),
    [
        (Answer(200, {}, b""), (200,), False),
        (Answer(404, {}, b""), (404, 410), False),
        (Answer(200, {}, b""), (422,), True),
        (Answer(500, {}, b""), (500,), True),
        (Answer(503, {"Retry-After": "1"}, b'{"code": "queue_full"}'), (202,), False),
        (Answer(503, {}, b'{"code": "queue_full"}'), (202,), True),
        (None, (200,), True),
    ],
)
def test_what_is_a_fault(answer: Answer | None, expected: tuple[int, ...], is_fault: bool) -> None:
    assert (fault_of(answer, expected) is not None) == is_fault


def test_growth_is_that_of_the_last_third_over_the_first() -> None:
    # given a process that peaks in between, and has one odd moment in each third
    memory = [10, 11, 90, 500, 500, 500, 40, 10, 42]
    descriptors = [5, 5, 50, 70, 70, 70, 8, 8, 5]
    samples = [
        Sample(i, m * MB, n) for i, (m, n) in enumerate(zip(memory, descriptors, strict=True))
    ]

    found = growth("API", samples)

    assert (found.memory_bytes, found.memory_growth_bytes) == (40 * MB, 29 * MB)
    assert (found.descriptors, found.descriptors_growth) == (8, 3)


@pytest.mark.parametrize(
    ("process", "memory_bytes", "descriptors", "told"),
    [
        ("API", MOST_MEMORY_BYTES, MOST_DESCRIPTORS, []),
        ("API", MOST_MEMORY_BYTES + 1, 0, ["memory"]),
        ("API", 0, MOST_DESCRIPTORS + 1, ["descriptors"]),
        ("API", -MB, -100, []),
        # It keeps what it tells of each fit for a while.
        ("redis", MOST_MEMORY_BYTES + 100 * MOST_REDIS_BYTES_A_FIT, 0, []),
        ("redis", MOST_MEMORY_BYTES + 100 * MOST_REDIS_BYTES_A_FIT + 1, 0, ["memory"]),
    ],
)
def test_what_is_flat(process: str, memory_bytes: int, descriptors: int, told: list[str]) -> None:
    samples = [Sample(0, 0, 0), Sample(1, 0, 0), Sample(2, memory_bytes, descriptors)]

    faults = growth(process, samples).faults(n_fits=100)

    assert [word for fault in faults for word in ("memory", "descriptors") if word in fault] == told


# Opens files and takes memory between two lines that it writes.
GROWING = f"""
import mmap, os
print("begun", flush=True)
input()
files = [open(os.devnull) for _ in range(30)]
taken = mmap.mmap(-1, {64 * MB})
taken.write(bytes({64 * MB}))
print("grown", flush=True)
input()
"""


def test_a_real_process_is_looked_at() -> None:
    # given a process of its own: in this one, what earlier tests have left may go at any moment
    command = [sys.executable, "-c", GROWING]
    with subprocess.Popen(command, stdin=PIPE, stdout=PIPE, text=True, bufsize=1) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        watch = Watch(process.pid)

        # when it grows between two looks
        assert process.stdout.readline() == "begun\n"
        watch.look()
        process.stdin.write("\n")
        assert process.stdout.readline() == "grown\n"
        watch.look()
        process.stdin.write("\n")

    # then it is this process that has grown
    own, *_ = watch.growths()
    assert own.descriptors_growth == 30
    assert own.memory_growth_bytes > 0.9 * 64 * MB
    assert watch.faults() == []


def test_processes_that_end_or_stay_are_told() -> None:
    def seen(first: int, last: int) -> list[Sample]:
        return [Sample(float(i), 0, 0) for i in range(first, last + 1)]

    names = {1: "launcher", 2: "worker", 3: "a film's encoder", 4: "another worker"}
    samples = {1: seen(0, 9), 2: seen(0, 5), 3: seen(4, 5), 4: seen(6, 9)}

    told = come_and_gone(names, samples, n_looks=10)

    assert told == [
        "worker (process 2) ended under the load",
        "another worker (process 4) came under the load and stayed",
    ]


def listed(*data: dict[str, Any]) -> Answered:
    return 200, {}, {"data": data, "has_more": False}


def job(job_id: str, status: str = "succeeded", attempt: int = 1) -> dict[str, Any]:
    return {"id": job_id, "status": status, "attempt": attempt, "finished_at": "2026-11-25"}


def test_lost_and_repeated_fits_are_told(serve: Serve) -> None:
    # given a service in which one fit never ended, one took two attempts, one is gone and a
    # batch has one end too few; and a fit that was deleted
    batch = {
        "id": "bat_1", "status": "succeeded", "n_fits": 3, "finished_at": "2026-11-25",
        "counts": {"succeeded": 1, "failed": 1, "cancelled": 0},
    }  # fmt: skip
    counts = b"# TYPE thalweg_fits counter\nthalweg_fits_total 7.0\n"
    address = serve(
        {
            "/v1/fits": listed(job("fit_1"), job("fit_2", "running"), job("fit_3", attempt=2)),
            "/v1/lr-range-tests": listed(job("lrt_1", "failed")),
            "/v1/batches": listed(batch),
            "/metrics": (200, {}, counts),
        }
    )
    ledger = Ledger()
    for taken in ("fit_1", "fit_2", "fit_lost", "fit_deleted", "lrt_1"):
        ledger.take(taken)
    ledger.delete("fit_deleted")

    with httpx.Client(base_url=f"http://{address}") as api:
        told = faults_of_ends(api, ledger, patience_seconds=0)

    for expected in (
        "fit_2 is running", "fit_3 is succeeded at attempt 2", "fit_lost was taken and is lost",
        "bat_1", "7 ends were counted of 5",
    ):  # fmt: skip
        (_,) = (fault for fault in told if expected in fault)
    assert len(told) == 5


def test_the_same_seed_sends_the_same(serve: Serve) -> None:
    address = serve({})

    drawn = [
        (columns(client), spec(client), client.dice.choices([*GOOD, *BAD], k=20))
        for client in (client_of(address, "1"), client_of(address, "1"))
    ]

    assert drawn[0] == drawn[1]
