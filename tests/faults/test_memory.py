"""Workers that the kernel kills for want of memory, in a control group that has little."""

import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.eventually import eventually
from tests.faults.jobs import Job
from tests.faults.memory_group import MemoryGroup, memory_group
from tests.faults.processes import signal_all
from tests.faults.running import Running, running
from tests.faults.test_leases import begun, holder, runs_at
from tests.faults.traffic import Client

pytestmark = [
    pytest.mark.stack,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]

MAX_ATTEMPTS = 2
MIB = 1024**2
# Beside what a child has that waits, less than the first layer of the network takes in one step.
MORE_BYTES = 400 * MIB
_MANY = {"kind": "linear", "seed": 0, "n": 100_000, "coef": [1.0] * 4}
_BASE = {"target": "y", "strategy": "reference"}
HUGE = Job(
    "huge",
    "/v1/fits",
    _BASE
    | {
        "dataset": {"generator": _MANY},
        "model": {"kind": "mlp", "hidden": [3_000]},
        "steps": 50,
    },
)
_FEW = {"columns": {"x": [1.0, 2.0, 3.0], "y": [2.0, 3.0, 5.0]}}
SMALL = Job("small", "/v1/fits", _BASE | {"dataset": _FEW, "steps": 20})
LONG = Job("long", "/v1/fits", _BASE | {"dataset": _FEW, "steps": 5_000_000})


@pytest.fixture(scope="module")
def group() -> Iterator[MemoryGroup]:
    """The group that the service is started in."""
    with memory_group() as made:
        if made is None:
            pytest.skip("this process may make no control group that counts memory")
        yield made


@pytest.fixture(scope="module")
def cramped(group: MemoryGroup) -> Iterator[Running]:
    """A service whose processes have little memory to share, beside what they have anyway."""
    # Whoever takes back what a lease that is over held knows nothing of the kernel.
    environment = {"THALWEG_MAX_ATTEMPTS": str(MAX_ATTEMPTS), "THALWEG_LEASE_SECONDS": "60"}
    with (
        tempfile.TemporaryDirectory(prefix="thalweg-") as directory,
        running(Path(directory) / "data", environment, 1, group.prefix) as service,
    ):
        eventually(service.is_ready, 120)
        eventually(lambda: bool(service.pids("worker's child")), 60)
        group.limit(MORE_BYTES)
        yield service


def test_a_fit_whose_workers_the_kernel_kills_for_want_of_memory_says_so(cramped: Running) -> None:
    client = Client(cramped.url, "")
    workers = cramped.pids("worker")
    undisturbed = client.end(client.post(SMALL, "before"), 60)

    # when a fit needs more memory than there is
    killed = client.end(client.post(HUGE, "huge"), 120)

    # then the kernel kills each child that tries it, and its end says so
    assert (killed["status"], killed["stop_reason"]) == ("failed", "error")
    assert killed["attempt"] == MAX_ATTEMPTS
    assert (killed["error"]["code"], killed["error"]["category"]) == ("out_of_memory", "server")
    assert "the kernel" in killed["error"]["message"]
    # and the worker goes on with the next one
    after = client.end(client.post(SMALL, "after"), 120)
    assert cramped.pids("worker") == workers
    assert (after["status"], after["weights"]) == ("succeeded", undisturbed["weights"])


def test_a_fit_whose_workers_are_lost_otherwise_does_not(cramped: Running) -> None:
    # given a service in which the kernel has killed for want of memory before
    client = Client(cramped.url, "")
    killed = client.end(client.post(HUGE, "huge"), 120)
    assert killed["error"]["code"] == "out_of_memory"
    time.sleep(8)

    # when somebody else kills all of a fit's workers
    accepted, _ = begun(cramped, client, LONG)
    for attempt in range(1, MAX_ATTEMPTS + 1):
        eventually(partial(runs_at, client, accepted, attempt), 60)
        signal_all([holder(cramped, accepted)], signal.SIGKILL)

    ended = client.end(accepted, 60)
    assert (ended["status"], ended["error"]["code"]) == ("failed", "worker_lost")
