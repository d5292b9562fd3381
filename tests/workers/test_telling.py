"""What a running job tells: its progress and epochs, never more than can be kept."""

import threading
import time
from typing import Any

import pytest

from service import fits, lifecycle
from service.context import Context, open_context
from service.following import events_so_far
from service.schemas.datasets import DatasetRequest
from tests.service.conftest import OWNER
from tests.service.test_lifecycle import submit
from tests.workers.running import run_all
from workers.telling import Pace

LONG: dict[str, Any] = {"steps": 1_000_000, "strategy": "reference"}


def cancel_after_an_epoch(context: Context, fit_id: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        told = {one.type for one in context.events.hear(fit_id, after=0, seconds=0.2)}
        if "epoch" in told:
            break
    lifecycle.cancel(context, fit_id, OWNER)


def test_a_running_fit_tells_of_its_progress_and_its_epochs(
    context: Context, table: DatasetRequest
) -> None:
    # given two steps an epoch
    fit = submit(context, table, **LONG, batch_size=2)
    began = time.monotonic()
    listener = threading.Thread(target=cancel_after_an_epoch, args=(context, fit["id"]))
    listener.start()

    run_all(context)
    listener.join()

    told = [one.type for one in events_so_far(context, fit["id"], after=0)]
    assert told[:2] == ["status", "status"]
    assert told[-1] == "end"
    assert 1 <= told.count("progress") <= 4 * (time.monotonic() - began)
    assert 1 <= told.count("epoch") <= told.count("progress")
    assert told.count("status") == 3


def test_short_fits_tell_nothing_between_their_start_and_end(
    context: Context, table: DatasetRequest
) -> None:
    # given a worker that has computed before, and compiles no more
    submit(context, table)
    run_all(context)

    ids = [submit(context, table)["id"] for _ in range(5)]
    run_all(context)

    tales = [context.events.hear(fit_id, after=0, seconds=0) for fit_id in ids]
    assert tales == [[]] * 5
    for fit_id in ids:
        told = [one.type for one in events_so_far(context, fit_id, after=0)]
        assert told == ["status", "status", "end"]


def test_a_redis_that_is_away_costs_a_fit_nothing(context: Context, table: DatasetRequest) -> None:
    fit = submit(context, table, **LONG, limits={"max_seconds": 1.5})
    settings = context.settings.model_copy(update={"redis_url": "redis://127.0.0.1:1"})
    deaf = open_context(settings)

    run_all(deaf)

    deaf.close()
    ended = fits.get_fit(context, fit["id"], OWNER)
    assert (ended["status"], ended["stop_reason"]) == ("succeeded", "time_limit")
    assert ended["diagnostics"]["seconds"]["compute"] < 3


@pytest.mark.parametrize(("hours", "most"), [(1 / 60, 240), (1, 2_600), (24, 4_600)])
def test_a_tale_of_a_day_has_room(hours: float, most: int) -> None:
    pace = Pace()

    n_told = sum(pace.allows(0.25 * tick) for tick in range(int(hours * 3600 * 4)))

    assert most * 0.8 < n_told <= most
