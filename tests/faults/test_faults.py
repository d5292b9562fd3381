"""One fault of each class while jobs come and run: all end once, with the bits they always have."""

import sys
import uuid
from functools import partial

import httpx
import pytest

from tests.faults import verdict
from tests.faults.conftest import JOBS, Watched
from tests.faults.faults import FAULTS, Site, freeze, kill, kill_launcher
from tests.faults.jobs import SHORT
from tests.faults.processes import ROLES
from tests.faults.running import Running
from tests.faults.traffic import Knocking

pytestmark = [
    pytest.mark.stack,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]

ENDED_SECONDS = 90.0
# What tests of their own look at more closely is left out. Two workers sweep in every service.
CLASSES = (
    "kill gunicorn", "kill an API worker", "freeze redis", "freeze the worker",
    "freeze an API worker", "freeze the launcher", "FLUSHALL", "redis away for half a minute",
    "clock jumps", "database locked", "disk full", "stray wake-ups", "kill the launcher",
)  # fmt: skip


@pytest.mark.parametrize("name", CLASSES)
def test_jobs_end_once_and_with_their_bits(
    name: str, site: Site, service: Running, watched: Watched
) -> None:
    # given jobs that wait and run
    client = watched.client
    accepted = [client.post(job, str(uuid.uuid4())) for job in JOBS]

    # when something goes wrong, while others are posted
    with Knocking(client, SHORT[0]) as knocking:
        if not FAULTS[name][1](site):
            pytest.skip("there is nothing to hurt: no file system could be mounted")
        site.mend_all()

    # then those are taken, or told clearly that it is for now
    answers = [answer for answer in knocking.answers if answer is not None]
    assert [said for answer in answers for said in wrong_with(answer)] == []

    # and each job ends as if nothing had been, those once that came again
    accepted += knocking.accepted()
    ids = [one.body["id"] for one in accepted]
    taken = [answer.json()["id"] for answer in answers if answer.is_success]
    assert len({*ids}) == len(ids)
    assert {*taken} <= {*ids}
    for one in accepted:
        one.shown = client.end(one, ENDED_SECONDS)
    assert verdict.differences(client.url, accepted, watched.expected) == []
    assert verdict.events_out_of_order(client.url, accepted) == []
    assert verdict.undelivered(accepted, watched.receiver) == []


def test_a_campaign_kills_and_freezes_every_process() -> None:
    drawn = {(fault.func, fault.args) for _, fault in FAULTS.values() if isinstance(fault, partial)}

    # The launcher is started again by whoever watches it.
    killed = {role for role in ROLES if (kill, (role,)) in drawn} | {"launcher"}
    frozen = {role for role in ROLES if (freeze, (role,)) in drawn}
    assert FAULTS["kill the launcher"][1] is kill_launcher
    assert killed == frozen == {*ROLES}
    assert {*CLASSES} <= {*FAULTS}


def wrong_with(answer: httpx.Response) -> list[str]:
    """What a client could not go by in the answer to its post."""
    if answer.status_code in (200, 202):
        return []
    clear = answer.status_code == 503 and "Retry-After" in answer.headers
    return [] if clear and answer.json()["code"] == "unavailable" else [answer.text]


def test_nothing_is_left_behind(service: Running) -> None:
    assert verdict.left_behind(service.settings) == []
