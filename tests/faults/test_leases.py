"""Workers that are lost, or seem to be: their fits go on elsewhere, and end once."""

import signal
import sqlite3
import sys
import uuid
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from tests.eventually import eventually
from tests.faults import verdict
from tests.faults.__main__ import ENVIRONMENT
from tests.faults.conftest import MAX_ATTEMPTS, Watched
from tests.faults.faults import Site, truncate_checkpoint
from tests.faults.jobs import ENDLESS, MEDIUM, Job
from tests.faults.processes import is_alive, signal_all
from tests.faults.running import LEASE_SECONDS, Running, running
from tests.faults.traffic import Accepted, Client
from tests.receiver import Receiver

pytestmark = [
    pytest.mark.stack,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]

LOOP = MEDIUM[0]


def begun(service: Running, client: Client, job: Job) -> tuple[Accepted, int]:
    """The job at work, and the process that computes it."""
    accepted = client.post(job, str(uuid.uuid4()))
    eventually(lambda: client.show(accepted)["progress"]["step"] > 0, 60)
    return accepted, holder(service, accepted)


def holder(service: Running, accepted: Accepted) -> int:
    path = service.settings.database_file
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        [[worker]] = database.execute(
            "SELECT worker FROM fits WHERE id = ?", [accepted.body["id"]]
        ).fetchall()
    return int(worker.rpartition("-")[2])


def runs_at(client: Client, accepted: Accepted, attempt: int) -> bool:
    shown = client.show(accepted)
    return (shown["status"], shown["attempt"]) == ("running", attempt)


def test_a_frozen_worker_wakes_up_changes_nothing_and_notices(
    service: Running, client: Client, watched: Watched
) -> None:
    # given a fit whose worker is frozen
    accepted, pid = begun(service, client, LOOP)
    noticed = service.logged("claim_lost")
    signal_all([pid], signal.SIGSTOP)

    # when its lease is over, it is taken back in time, and ends elsewhere
    taken_back = eventually(lambda: client.show(accepted)["attempt"] == 2, 30)
    accepted.shown = client.end(accepted, 60)
    signal_all([pid], signal.SIGCONT)

    # then whoever wakes up notices, and changes nothing
    eventually(lambda: service.logged("claim_lost") > noticed, 30)
    assert taken_back < LEASE_SECONDS + 2
    assert is_alive(pid)
    assert client.show(accepted) == accepted.shown
    assert verdict.differences(client.url, [accepted], watched.expected) == []


def test_a_killed_child_is_missed_long_before_its_lease_is_over(
    tmp_path: Path, receiver: Receiver, watched: Watched
) -> None:
    # given a fit at work under a lease of a minute
    environment = ENVIRONMENT | {"THALWEG_LEASE_SECONDS": "60"}
    with running(tmp_path / "data", environment) as service:
        client = Client(service.url, receiver.url)
        accepted, pid = begun(service, client, LOOP)

        # when the process that computes it is killed
        signal_all([pid], signal.SIGKILL)

        # then it is taken back after some sweeps, and ends elsewhere
        eventually(lambda: client.show(accepted)["attempt"] == 2, 15)
        accepted.shown = client.end(accepted, 60)
        assert verdict.differences(client.url, [accepted], watched.expected) == []


def test_a_checkpoint_that_was_cut_off_is_left(
    site: Site, service: Running, client: Client, watched: Watched
) -> None:
    # given a fit at work whose checkpoints are cut off
    accepted, pid = begun(service, client, LOOP)
    eventually(lambda: truncate_checkpoint(site), 30)
    signal_all([pid], signal.SIGSTOP)
    truncate_checkpoint(site)

    # when its worker is lost
    signal_all([pid], signal.SIGKILL)

    # then it begins anew elsewhere
    accepted.shown = client.end(accepted, 60)
    assert accepted.shown["attempt"] == 2
    assert service.logged("checkpoint_damaged") > 0
    assert verdict.differences(client.url, [accepted], watched.expected) == []


def test_children_die_with_their_worker(service: Running, client: Client, watched: Watched) -> None:
    accepted, pid = begun(service, client, LOOP)
    signal_all(service.pids("worker"), signal.SIGKILL)

    eventually(lambda: not is_alive(pid), 5)
    accepted.shown = client.end(accepted, 60)

    assert accepted.shown["attempt"] == 2
    assert verdict.differences(client.url, [accepted], watched.expected) == []


def test_a_fit_that_loses_all_its_workers_fails(service: Running, client: Client) -> None:
    accepted, _ = begun(service, client, ENDLESS)
    for attempt in range(1, MAX_ATTEMPTS + 1):
        eventually(partial(runs_at, client, accepted, attempt), 60)
        signal_all([holder(service, accepted)], signal.SIGKILL)

    ended = client.end(accepted, 60)

    assert (ended["status"], ended["stop_reason"]) == ("failed", "error")
    assert ended["attempt"] == MAX_ATTEMPTS
    assert ended["error"]["code"] == "worker_lost"
    assert verdict.events_out_of_order(client.url, [accepted]) == []
