"""An object store that is away: fits wait for it, and lose nothing by that."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from service import fits, lifecycle
from service.context import Context
from service.schemas.datasets import DatasetRequest
from service.storage import open_store
from tests.installations import PRODUCTION_ALONE
from tests.proxy import Proxy, Way, proxy_to
from tests.seaweedfs import SeaweedFS, endpoint
from tests.service.claiming import FIT_QUEUES
from tests.service.conftest import OWNER
from tests.service.test_lifecycle import submit
from tests.workers.running import run_all
from workers import draining, inputs

pytestmark = PRODUCTION_ALONE


@pytest.fixture
def proxy(seaweedfs: SeaweedFS) -> Iterator[Proxy]:
    with proxy_to(seaweedfs.address) as made:
        yield made


@pytest.fixture
def far(context: Context, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Context:
    """The same service, which reaches its bucket by the proxy, and keeps all that it makes there.

    Were an outage an attempt, none would be left.
    """
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint(proxy.address))
    settings = context.settings.model_copy(update={"inline_artifact_bytes": 0, "max_attempts": 1})
    store = open_store(settings)
    return Context(settings, context.database, store, context.queue, context.events)


@pytest.mark.parametrize("has_table", [False, True], ids=["at its table", "at its end"])
def test_a_fit_that_misses_the_store_waits_without_an_attempt(
    far: Context, proxy: Proxy, table: DatasetRequest, has_table: bool
) -> None:
    # given a fit, by a worker that has its table or not
    first = submit(far, table)
    run_all(far)
    undisturbed = fits.get_fit(far, first["id"], OWNER)
    second = submit(far, table)
    if not has_table:
        inputs._tables.clear()

    # when the store is away for a while, in which the worker is woken twice
    proxy.way = Way.CLOSED
    run_all(far)
    missed = fits.get_fit(far, second["id"], OWNER)
    fence = claims_of(far, second["id"])
    run_all(far)
    still = claims_of(far, second["id"])
    proxy.way = Way.THROUGH
    run_all(far)

    # then it was claimed once in vain, and ends as the other one
    ended = fits.get_fit(far, second["id"], OWNER)
    assert (missed["status"], missed["attempt"]) == ("queued", 1)
    assert (fence, still) == (1, 1)
    assert (ended["status"], ended["attempt"]) == ("succeeded", 1)
    for name in ("weights", "loss_history", "metrics"):
        assert ended[name] == undisturbed[name]


def test_a_worker_that_is_stopped_meanwhile_gives_its_fit_back_at_once(
    far: Context, proxy: Proxy, table: DatasetRequest
) -> None:
    # given a fit at work, and then a bucket that says nothing
    fit = submit(far, table, steps=1_000_000, strategy="reference")

    def stop() -> None:
        proxy.way = Way.SILENT
        draining._draining.set()

    threading.Timer(0.5, stop).start()

    # when its worker is stopped
    with structlog.testing.capture_logs() as logs:
        run_all(far)
    draining._draining.clear()

    # then it waits for nothing but a look at the bucket
    found = fits.get_fit(far, fit["id"], OWNER)
    assert (found["status"], found["attempt"]) == ("queued", 1)
    events = [entry["event"] for entry in logs]
    assert "object_store_away" in events
    assert "checkpoint_not_written" not in events


def test_a_sweep_asks_nothing_of_the_store(context: Context, table: DatasetRequest) -> None:
    nowhere: Any = None
    without = Context(context.settings, context.database, nowhere, context.queue, context.events)
    fit = submit(context, table)
    assert any(lifecycle.claim_waiting(context, queue, "lost") for queue in FIT_QUEUES)

    lifecycle.sweep(without, time.time() + context.settings.lease_seconds + 1)

    found = fits.get_fit(context, fit["id"], OWNER)
    assert (found["status"], found["attempt"]) == ("queued", 2)


def claims_of(context: Context, fit_id: str) -> int:
    """How often the fit has been claimed."""
    return int(fits.find_row(context, fit_id, OWNER)["fence"])
