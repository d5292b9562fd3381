"""Workers that are lost, or seem to be: their fits go on elsewhere, and end once."""

import signal
import sqlite3
import sys
import uuid
from contextlib import closing

import pytest

from tests.eventually import eventually
from tests.faults import verdict
from tests.faults.conftest import Watched
from tests.faults.faults import Site, truncate_checkpoint
from tests.faults.jobs import MEDIUM, Job
from tests.faults.processes import is_alive, signal_all
from tests.faults.running import LEASE_SECONDS, Running
from tests.faults.traffic import Accepted, Client

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
