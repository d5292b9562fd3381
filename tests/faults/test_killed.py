"""Processes that somebody kills, or the kernel for want of memory, under leases of a minute."""

import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.eventually import eventually
from tests.faults import verdict
from tests.faults.campaign import undisturbed
from tests.faults.jobs import Job
from tests.faults.memory_group import MemoryGroup, memory_group
from tests.faults.processes import signal_all
from tests.faults.running import Running, running
from tests.faults.test_leases import LOOP, begun, holder, runs_at
from tests.faults.traffic import Accepted, Client

pytestmark = [
    pytest.mark.stack,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]

MAX_ATTEMPTS = 2
LEASE_SECONDS = 60
# Whoever takes back what a lease that is over held knows nothing of who was killed.
ENVIRONMENT = {
    "THALWEG_MAX_ATTEMPTS": str(MAX_ATTEMPTS),
    "THALWEG_LEASE_SECONDS": str(LEASE_SECONDS),
}
# What the kernel did longer ago is not taken for the reason of what happens now.
FORGOTTEN_SECONDS = 6.0
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


@dataclass(frozen=True)
class Patient:
    """A service with long leases, and the control group of all its processes, if there is one."""

    service: Running
    client: Client
    group: MemoryGroup | None


@pytest.fixture(scope="module")
def patient() -> Iterator[Patient]:
    with (
        memory_group() as group,
        tempfile.TemporaryDirectory(prefix="thalweg-") as directory,
        running(
            Path(directory) / "data", ENVIRONMENT, 1, () if group is None else group.prefix
        ) as service,
    ):
        eventually(service.is_ready, 120)
        eventually(lambda: bool(service.pids("worker's child")), 60)
        yield Patient(service, Client(service.url, ""), group)


def is_taken_back(client: Client, accepted: Accepted, attempt: int) -> bool:
    return not runs_at(client, accepted, attempt)


def test_a_fit_whose_workers_the_kernel_kills_for_want_of_memory_says_so(patient: Patient) -> None:
    # given a service whose processes have little memory to share, beside what they have anyway
    if patient.group is None:
        pytest.skip("this process may make no control group that counts memory")
    client, workers = patient.client, patient.service.pids("worker")
    undisturbed = client.end(client.post(SMALL, "before"), 60)
    patient.group.limit(MORE_BYTES)

    # when a fit needs more memory than there is
    killed = client.end(client.post(HUGE, "huge"), 120)

    # then the kernel kills each child that tries it, and its end says so
    assert (killed["status"], killed["stop_reason"]) == ("failed", "error")
    assert killed["attempt"] == MAX_ATTEMPTS
    assert (killed["error"]["code"], killed["error"]["category"]) == ("out_of_memory", "server")
    assert "the kernel" in killed["error"]["message"]
    # and the worker goes on with the next one
    after = client.end(client.post(SMALL, "after"), 120)
    assert patient.service.pids("worker") == workers
    assert (after["status"], after["weights"]) == ("succeeded", undisturbed["weights"])


def test_a_killed_child_is_missed_long_before_its_lease_is_over(patient: Patient) -> None:
    # given a fit at work
    service, client = patient.service, patient.client
    expected = undisturbed(client, (LOOP,))
    accepted, pid = begun(service, client, LOOP)

    # when the process that computes it is killed
    signal_all([pid], signal.SIGKILL)

    # then it is taken back after some sweeps, and ends elsewhere
    eventually(lambda: client.show(accepted)["attempt"] == 2, 15)
    accepted.shown = client.end(accepted, 60)
    assert verdict.differences(client.url, [accepted], expected) == []


def test_a_fit_that_loses_all_its_workers_fails_long_before_their_leases_are_over(
    patient: Patient,
) -> None:
    # given a service in which the kernel may have killed for want of memory before
    service, client = patient.service, patient.client
    time.sleep(0 if patient.group is None else FORGOTTEN_SECONDS)
    accepted, _ = begun(service, client, LONG)

    # when somebody kills each process that computes the fit
    for attempt in range(1, MAX_ATTEMPTS + 1):
        eventually(partial(runs_at, client, accepted, attempt), LEASE_SECONDS)
        signal_all([holder(service, accepted)], signal.SIGKILL)
        # then it is taken back after some sweeps
        eventually(partial(is_taken_back, client, accepted, attempt), LEASE_SECONDS / 4)

    # and its end tells that its workers were lost, and nothing of memory
    ended = client.end(accepted, 60)
    assert (ended["status"], ended["stop_reason"]) == ("failed", "error")
    assert ended["attempt"] == MAX_ATTEMPTS
    assert ended["error"]["code"] == "worker_lost"
    assert verdict.events_out_of_order(client.url, [accepted]) == []
