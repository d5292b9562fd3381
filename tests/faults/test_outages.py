"""A part goes away under the service and comes back: nothing is lost, doubled or changed."""

import sys
import time
import uuid
from collections.abc import Iterator

import httpx
import pytest

from tests.eventually import eventually
from tests.faults import verdict
from tests.faults.campaign import undisturbed
from tests.faults.jobs import BATCH, MEDIUM, SHORT
from tests.faults.parts import Production, production
from tests.faults.running import LEASE_SECONDS, Running, running
from tests.faults.traffic import Client

pytestmark = [
    pytest.mark.stack,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]

JOBS = (SHORT[0], MEDIUM[0], BATCH)
OUTAGES = ("PostgreSQL crashes", "bucket closed", "bucket failing", "bucket silent")
ENDED_SECONDS = 90.0
REFUSED_SECONDS = 60.0
# Whatever a fit has made goes into the bucket.
ENVIRONMENT = {"THALWEG_CHECKPOINT_SECONDS": "0.5", "THALWEG_INLINE_ARTIFACT_BYTES": "0"}


@pytest.fixture(scope="module")
def installation() -> Iterator[Production]:
    with production() as made:
        yield made


@pytest.fixture(scope="module")
def outside(
    installation: Production, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """A service whose database and objects are elsewhere."""
    data_dir = tmp_path_factory.mktemp("outside") / "data"
    with running(data_dir, ENVIRONMENT | installation.environment, n_workers=1) as service:
        yield service


@pytest.mark.parametrize("name", OUTAGES)
def test_a_part_that_goes_away_and_comes_back_loses_nothing(
    installation: Production, outside: Running, name: str
) -> None:
    # given jobs that wait and run
    part = installation.parts[name]
    client = Client(outside.url, hook="")
    expected = undisturbed(client, JOBS)
    accepted = [client.post(job, str(uuid.uuid4())) for job in JOBS]
    eventually(lambda: client.show(accepted[1])["progress"]["step"] > 0, ENDED_SECONDS)

    # when the part goes away, for longer than the leases last
    part.leave()
    new = {"columns": {"x": [0.25, OUTAGES.index(name)]}}
    refused = httpx.post(f"{outside.url}/v1/datasets", json=new, timeout=REFUSED_SECONDS)
    ready = httpx.get(f"{outside.url}/readyz", timeout=REFUSED_SECONDS)
    time.sleep(LEASE_SECONDS + 1)
    part.come_back()

    # then clients were told that it is for now, and all ends as if nothing had been
    assert refused.status_code == 503, refused.text
    assert refused.json()["code"] == "unavailable"
    assert "Retry-After" in refused.headers
    assert (ready.status_code, ready.json()[part.name]) == (503, "unavailable")
    for one in accepted:
        one.shown = client.end(one, ENDED_SECONDS)
    assert verdict.differences(client.url, accepted, expected) == []
    assert verdict.events_out_of_order(client.url, accepted) == []
