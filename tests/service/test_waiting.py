"""Waiting for a fit's end: woken by the event, safe without it."""

import threading
import time

from service import fits
from service.context import Context, open_context
from service.schemas.datasets import DatasetRequest
from service.settings import Settings
from service.waiting import wait_until_ended
from tests.service.later import later
from tests.service.test_lifecycle import claimed, finish, submit


def without_redis(context: Context) -> Settings:
    return context.settings.model_copy(update={"redis_url": "redis://127.0.0.1:1"})


def never() -> bool:
    return False


def test_the_end_wakes_the_waiter(context: Context, table: DatasetRequest) -> None:
    fit = submit(context, table)
    claim = claimed(context, fit["id"])

    began = time.monotonic()
    with later(0.2, finish, context, claim):
        wait_until_ended(context, fit["id"], 30, never)

    assert fits.fit_row(context, fit["id"])["status"] == "succeeded"
    assert time.monotonic() - began < 15, "it was the event that woke, not the end of the wait"


def test_an_end_whose_event_was_lost_is_found_in_the_database(
    context: Context, table: DatasetRequest
) -> None:
    fit = submit(context, table)
    claim = claimed(context, fit["id"])
    unheard = open_context(without_redis(context))

    with later(0.1, finish, unheard, claim):
        wait_until_ended(context, fit["id"], 30, never)
    unheard.close()

    assert fits.fit_row(context, fit["id"])["status"] == "succeeded"


def test_a_wait_ends_with_its_time(context: Context, table: DatasetRequest) -> None:
    fit = submit(context, table)

    wait_until_ended(context, fit["id"], 0.1, never)

    assert fits.fit_row(context, fit["id"])["status"] == "queued"


def test_a_wait_ends_when_the_process_is_stopped(context: Context, table: DatasetRequest) -> None:
    fit = submit(context, table)
    stopping = threading.Event()
    threading.Timer(0.1, stopping.set).start()

    wait_until_ended(context, fit["id"], 30, stopping.is_set)

    assert fits.fit_row(context, fit["id"])["status"] == "queued"


def test_without_redis_submitting_and_waiting_go_on(
    context: Context, table: DatasetRequest
) -> None:
    alone = open_context(without_redis(context))
    try:
        fit = submit(alone, table)
        claim = claimed(alone, fit["id"])
        with later(0.2, finish, alone, claim):
            wait_until_ended(alone, fit["id"], 30, never)
    finally:
        alone.close()

    assert fits.fit_row(context, fit["id"])["status"] == "succeeded"
