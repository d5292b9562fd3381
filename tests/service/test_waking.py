"""Who is told that fits wait or have ended, and words that come too late."""

import time

import orjson
import pytest

from service import lifecycle, waking
from service.context import Context
from service.queue import FITS_SMALL
from service.schemas.datasets import DatasetRequest
from tests.service.claiming import undelivered_fits
from tests.service.test_lifecycle import claimed, finish, status, submit


def test_a_lost_wake_up_is_sent_again(context: Context, table: DatasetRequest) -> None:
    fit = submit(context, table)
    context.events.client.flushall()

    lifecycle.sweep(context, time.time())
    assert undelivered_fits(context) == 0, "it may still be on its way"
    lifecycle.sweep(context, time.time() + 6)

    assert undelivered_fits(context) == 1
    assert status(context, fit["id"]) == ("queued", 1)


def test_one_wake_up_is_enough_for_all_that_wait(context: Context, table: DatasetRequest) -> None:
    for _ in range(3):
        submit(context, table)

    lifecycle.sweep(context, time.time() + 6)

    assert undelivered_fits(context) == 1


def test_a_worker_that_has_lost_its_fit_tells_nothing_more_of_it(
    context: Context, table: DatasetRequest
) -> None:
    fit = submit(context, table)
    lost = claimed(context, fit["id"])
    lifecycle.sweep(context, time.time() + context.settings.lease_seconds + 1)

    # It wakes up before another one has the fit, and does not know yet.
    context.events.tell(fit["id"], [("progress", {"step": 7})], fence=lost.fence)
    again = claimed(context, fit["id"])
    context.events.tell(fit["id"], [("progress", {"step": 8})], fence=lost.fence)
    context.events.tell(fit["id"], [("progress", {"step": 9})], fence=again.fence)

    told = [event.data for event in context.events.hear(fit["id"], after=0, seconds=0)]
    assert [orjson.loads(data).get("step", "status") for data in told] == ["status", "status", 9]


def test_a_wake_up_that_is_on_its_way_is_enough(
    context: Context, table: DatasetRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.queue._SENT_MILLISECONDS", 600_000)
    first = submit(context, table)
    # A worker's main process has taken the message, and its child has not begun.
    context.events.client.delete(FITS_SMALL)

    second = submit(context, table)

    assert undelivered_fits(context) == 0
    waking.heard(context, FITS_SMALL)
    claims = lifecycle.claim_waiting(context, FITS_SMALL, "worker")
    assert {claim.fit_id for claim in claims} == {first["id"], second["id"]}

    submit(context, table)

    assert undelivered_fits(context) == 1, "whoever has looked does not look again"


def test_a_wake_up_that_nobody_hears_of_holds_the_next_one_up_for_a_moment(
    context: Context, table: DatasetRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.queue._SENT_MILLISECONDS", 1)
    submit(context, table)
    context.events.client.delete(FITS_SMALL)
    time.sleep(0.01)

    submit(context, table)

    assert undelivered_fits(context) == 1


def test_the_end_is_published_after_it_is_committed(
    context: Context, table: DatasetRequest
) -> None:
    fit = submit(context, table)

    finish(context, claimed(context, fit["id"]))

    assert context.events.first(fit["id"], seconds=1) == (
        "end",
        {"status": "succeeded", "stop_reason": "completed"},
    )
