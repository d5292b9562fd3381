"""PostgreSQL crashes under the service and comes back: nothing is lost, doubled or changed."""

import signal
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.eventually import eventually
from tests.faults import verdict
from tests.faults.campaign import undisturbed
from tests.faults.jobs import BATCH, MEDIUM, SHORT
from tests.faults.running import LEASE_SECONDS, running
from tests.faults.traffic import Client
from tests.postgresql import running_postgresql

pytestmark = [
    pytest.mark.stack,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]

JOBS = (SHORT[0], MEDIUM[0], BATCH)
ENDED_SECONDS = 90.0


def test_a_database_that_crashes_and_comes_back_loses_nothing(tmp_path: Path) -> None:
    environment = {"THALWEG_CHECKPOINT_SECONDS": "0.5"}
    with (
        running_postgresql() as server,
        server.database() as url,
        running(tmp_path / "data", environment | {"THALWEG_DATABASE_URL": url}) as service,
    ):
        # given jobs that wait and run
        client = Client(service.url, hook="")
        expected = undisturbed(client, JOBS)
        accepted = [client.post(job, f"disturbed-{i}") for i, job in enumerate(JOBS)]
        eventually(lambda: client.show(accepted[1])["progress"]["step"] > 0, ENDED_SECONDS)

        # when the database crashes, and is away for longer than the leases last
        server.stop(signal.SIGQUIT)
        refused = httpx.post(f"{service.url}/v1/fits", json=SHORT[0].body, timeout=60)
        ready = httpx.get(f"{service.url}/readyz", timeout=60)
        time.sleep(LEASE_SECONDS + 1)
        server.start()

        # then clients were told that it is for now, and all ends as if nothing had been
        assert refused.status_code == 503, refused.text
        assert refused.json()["code"] == "unavailable"
        assert "Retry-After" in refused.headers
        assert ready.status_code == 503
        for one in accepted:
            one.shown = client.end(one, ENDED_SECONDS)
        assert verdict.differences(client.url, accepted, expected) == []
        assert verdict.events_out_of_order(client.url, accepted) == []
