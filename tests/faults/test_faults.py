"""One fault of each class while jobs are at work: all end once, with the bits they always have."""

import sys
import uuid

import pytest

from tests.faults import verdict
from tests.faults.conftest import JOBS, Watched
from tests.faults.faults import FAULTS, Site
from tests.faults.running import Running

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

    # when something goes wrong
    if not FAULTS[name][1](site):
        pytest.skip("there is nothing to hurt: no file system could be mounted")
    site.mend_all()

    # then each ends as if nothing had
    for one in accepted:
        one.shown = client.end(one, ENDED_SECONDS)
    assert verdict.differences(client.url, accepted, watched.expected) == []
    assert verdict.events_out_of_order(client.url, accepted) == []
    assert verdict.undelivered(accepted, watched.receiver) == []


def test_nothing_is_left_behind(service: Running) -> None:
    assert verdict.left_behind(service.settings) == []
