"""A part goes away under the service and comes back: nothing is lost, doubled or changed."""

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
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
from tests.proxy import Way, proxy_to
from tests.seaweedfs import endpoint, running_seaweedfs

pytestmark = [
    pytest.mark.stack,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]

JOBS = (SHORT[0], MEDIUM[0], BATCH)
ENDED_SECONDS = 90.0
REFUSED_SECONDS = 60.0
NEW = {"columns": {"x": [0.25, 0.5]}}


@dataclass(frozen=True)
class Part:
    """What the service needs, its name at /readyz, and how it goes away and comes back."""

    name: str
    environment: dict[str, str]
    leave: Callable[[], None]
    come_back: Callable[[], None]


@contextmanager
def database_that_crashes() -> Iterator[Part]:
    with running_postgresql() as server, server.database() as url:
        environment = {"THALWEG_DATABASE_URL": url}
        yield Part("database", environment, lambda: server.stop(signal.SIGQUIT), server.start)


@contextmanager
def bucket_that_closes() -> Iterator[Part]:
    with _bucket(Way.CLOSED) as part:
        yield part


@contextmanager
def bucket_that_is_silent() -> Iterator[Part]:
    with _bucket(Way.SILENT) as part:
        yield part


@contextmanager
def _bucket(way: Way) -> Iterator[Part]:
    with running_seaweedfs() as server, proxy_to(server.address) as proxy:

        def take(new: Way) -> None:
            proxy.way = new

        environment = server.environment | {
            "THALWEG_STORAGE_URL": server.new_url(),
            "AWS_ENDPOINT_URL": endpoint(proxy.address),
        }
        yield Part("storage", environment, lambda: take(way), lambda: take(Way.THROUGH))


@pytest.mark.parametrize("part", [database_that_crashes, bucket_that_closes, bucket_that_is_silent])
def test_a_part_that_goes_away_and_comes_back_loses_nothing(
    tmp_path: Path, part: Callable[[], AbstractContextManager[Part]]
) -> None:
    # Whatever a fit has made goes into the object store.
    environment = {"THALWEG_CHECKPOINT_SECONDS": "0.5", "THALWEG_INLINE_ARTIFACT_BYTES": "0"}
    with (
        part() as it,
        running(tmp_path / "data", environment | it.environment) as service,
    ):
        # given jobs that wait and run
        client = Client(service.url, hook="")
        expected = undisturbed(client, JOBS)
        accepted = [client.post(job, f"disturbed-{i}") for i, job in enumerate(JOBS)]
        eventually(lambda: client.show(accepted[1])["progress"]["step"] > 0, ENDED_SECONDS)

        # when the part goes away, for longer than the leases last
        it.leave()
        refused = httpx.post(f"{service.url}/v1/datasets", json=NEW, timeout=REFUSED_SECONDS)
        ready = httpx.get(f"{service.url}/readyz", timeout=REFUSED_SECONDS)
        time.sleep(LEASE_SECONDS + 1)
        it.come_back()

        # then clients were told that it is for now, and all ends as if nothing had been
        assert refused.status_code == 503, refused.text
        assert refused.json()["code"] == "unavailable"
        assert "Retry-After" in refused.headers
        assert (ready.status_code, ready.json()[it.name]) == (503, "unavailable")
        for one in accepted:
            one.shown = client.end(one, ENDED_SECONDS)
        assert verdict.differences(client.url, accepted, expected) == []
        assert verdict.events_out_of_order(client.url, accepted) == []
