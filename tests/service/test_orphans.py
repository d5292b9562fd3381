"""Objects that no row names are forgotten; every other one is kept."""

import os
import time

import pytest

from service import fits
from service.artifacts import store_artifact
from service.context import Context
from service.orphans import forget_orphans
from service.retention import forget_expired
from service.schemas.datasets import DatasetRequest
from tests.service.claiming import finish_one
from tests.service.conftest import OWNER
from tests.service.stored import stored
from tests.service.test_lifecycle import claimed, submit

LARGE = os.urandom(100_000)


@pytest.fixture
def later(context: Context) -> float:
    """When all that a test has made is old."""
    return time.time() + context.settings.orphan_seconds + 1


def test_what_a_lost_worker_stored_is_forgotten_once_the_fit_has_ended(
    context: Context, table: DatasetRequest, later: float
) -> None:
    # given a fit that lost a worker after this had stored something, and runs again
    fit = submit(context, table)
    claim = claimed(context, fit["id"])
    store_artifact(context, fit["id"], claim.fence - 1, "weights", LARGE)
    kept = store_artifact(context, fit["id"], claim.fence, "weights", LARGE)
    unnamed = store_artifact(context, fit["id"], claim.fence, "checkpoint", LARGE)
    picture = f"fits/{fit['id']}/plots/loss-1.png"
    context.storage.put(picture, b"png")

    # when it ends
    before = stored(context)
    while_it_runs = forget_orphans(context, later)
    finish_one(
        context, claim, status="succeeded", stop_reason="completed", result={}, artifacts=[kept]
    )
    too_soon = forget_orphans(context, time.time())
    n = forget_orphans(context, later)

    # then all but what its rows name, and its pictures, is gone
    assert (while_it_runs, too_soon, n) == (0, 0, 2)
    lost = {f"fits/{fit['id']}/{claim.fence - 1}/weights.safetensors", unnamed["storage_key"]}
    assert set(before) - set(stored(context)) == lost
    assert picture in stored(context)
    assert forget_orphans(context, later) == 0


def test_what_a_lost_request_stored_is_forgotten(
    context: Context, table: DatasetRequest, later: float
) -> None:
    fit = submit(context, table)
    kept = stored(context)
    context.storage.put("datasets/ds_never.arrow", b"table")
    store_artifact(context, "fit_never", 0, "start", LARGE)

    assert forget_orphans(context, later) == 2
    assert stored(context) == kept
    assert fits.get_fit(context, fit["id"], OWNER)["status"] == "queued"


def test_what_a_deleted_fit_left_is_forgotten(
    context: Context, table: DatasetRequest, later: float
) -> None:
    fit = submit(context, table)
    finish_one(
        context, claimed(context, fit["id"]), status="succeeded", stop_reason="completed", result={}
    )
    fits.delete_fit(context, fit["id"], OWNER)
    # Drawn while it was being deleted.
    context.storage.put(f"fits/{fit['id']}/plots/loss-1.png", b"png")

    assert forget_orphans(context, later) == 1


def test_a_table_that_passed_through_is_forgotten(context: Context, later: float) -> None:
    context.storage.put("errands/table_1/table.arrow", b"table")

    forget_expired(context, time.time())
    assert stored(context) == ["errands/table_1/table.arrow"]
    forget_expired(context, later)

    assert stored(context) == []
