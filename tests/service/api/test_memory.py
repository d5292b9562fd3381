"""The API's memory: shared by its threads, and given back by what fails."""

import gzip
import resource
import subprocess
import sys

from flask.testing import FlaskClient

from tests.service.tables.given import CSV

# Sixteen threads that allocate at once; then what glibc has, and Arrow's pool.
THREADS = """
import ctypes, os, threading
import pyarrow as pa
from service.api.memory import share_heaps
share_heaps()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
together = threading.Barrier(16)
def allocate():
    together.wait()
    libc.malloc(1000)
    together.wait()
threads = [threading.Thread(target=allocate) for _ in range(16)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
libc.fopen.restype = ctypes.c_void_p
libc.malloc_info(0, ctypes.c_void_p(libc.fopen(b"/dev/stdout", b"w")))
libc.fflush(None)
print(pa.default_memory_pool().backend_name, flush=True)
"""


def test_threads_share_their_heaps() -> None:
    told = subprocess.run(
        [sys.executable, "-c", THREADS], capture_output=True, text=True, check=True
    ).stdout

    assert 1 <= told.count("<heap nr=") <= 2
    assert told.splitlines()[-1] == "system"


def test_bodies_that_cannot_be_inflated_leave_nothing_behind(http: FlaskClient) -> None:
    # given a body of nearly a megabyte whose end is missing
    cut = gzip.compress(bytes(1_000_000))[:-9]

    def send() -> None:
        answer = http.post(
            "/v1/datasets", data=cut, content_type=CSV, headers={"Content-Encoding": "gzip"}
        )
        assert answer.status_code == 400

    for _ in range(20):
        send()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    for _ in range(100):
        send()

    # then a hundred of them do not take a hundred buffers
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after - before < 30_000
