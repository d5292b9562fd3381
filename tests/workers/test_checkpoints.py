"""A fit that loses its worker goes on from where it was written down."""

import math
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import structlog

from service import fits, lifecycle
from service.checkpoints import CHECKPOINTS, forget_checkpoints
from service.context import Context
from service.schemas.datasets import DatasetRequest
from tests.eventually import eventually
from tests.service.conftest import OWNER
from tests.service.test_lifecycle import claimed, expire, submit
from tests.workers.running import run_all
from workers import checkpoints, draining, fingerprint
from workers.checkpoints import StoredCheckpoints
from workers.engine import Checkpoint
from workers.heartbeat import Heartbeat

# A second or more of the plain loop.
SPEC = {"steps": 2_500, "strategy": "reference", "optimizer": {"kind": "adam"}, "batch_size": 2}


@pytest.fixture(autouse=True)
def _undrained() -> Iterator[None]:
    """Draining ends with the process, and so with each of these tests."""
    yield
    draining._draining.clear()


@pytest.fixture(scope="module")
def ended_undisturbed() -> dict[str, Any]:
    """The fit's end, once a test has asked for it: each has a service of its own."""
    return {}


@pytest.fixture
def undisturbed(
    context: Context, table: DatasetRequest, ended_undisturbed: dict[str, Any]
) -> dict[str, Any]:
    if not ended_undisturbed:
        fit = submit(context, table, **SPEC)
        run_all(context)
        ended_undisturbed |= fits.get_fit(context, fit["id"], OWNER)
    return ended_undisturbed


def often(context: Context, **changes: Any) -> Context:
    """The context of a worker that writes checkpoints all the time."""
    settings = context.settings.model_copy(update={"checkpoint_seconds": 0.01} | changes)
    return Context(settings, context.database, context.storage, context.queue, context.events)


def when_written(context: Context, fit: dict[str, Any], act: Callable[[], Any]) -> None:
    """Act once the fit has a checkpoint."""

    def wait() -> None:
        deadline = time.monotonic() + 30
        while not kept(context, fit) and time.monotonic() < deadline:
            time.sleep(0.01)
        act()

    threading.Thread(target=wait).start()


def given_back(context: Context, table: DatasetRequest) -> dict[str, Any]:
    """A fit whose worker was stopped on the way."""
    fit = submit(context, table, **SPEC)
    when_written(context, fit, draining._draining.set)
    run_all(often(context))
    draining._draining.clear()
    found = fits.get_fit(context, fit["id"], OWNER)
    assert found["status"] == "queued"
    return found


def ended(context: Context, fit: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fit as another worker ends it, and what that one's log says, by event."""
    with structlog.testing.capture_logs() as logs:
        run_all(context)
    return fits.get_fit(context, fit["id"], OWNER), {entry["event"]: entry for entry in logs}


def assert_same_numbers(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found["status"] == "succeeded"
    for name in ("weights", "coefficients", "final_loss", "loss_history", "metrics"):
        assert found[name] == expected[name]


def kept(context: Context, fit: dict[str, Any]) -> list[str]:
    """The keys of the fit's checkpoints."""
    return [*context.storage.keys_below(f"{CHECKPOINTS}/{fit['id']}", math.inf)]


def test_another_worker_goes_on_where_one_was_stopped(
    context: Context, table: DatasetRequest, undisturbed: dict[str, Any]
) -> None:
    fit = given_back(context, table)

    found, logged = ended(context, fit)

    assert 0 < logged["checkpoint_found"]["step"] < SPEC["steps"]
    assert_same_numbers(found, undisturbed)
    assert found["fingerprint"] == undisturbed["fingerprint"]


def test_another_worker_goes_on_where_one_was_lost(
    context: Context, table: DatasetRequest, undisturbed: dict[str, Any]
) -> None:
    # given a lease that is over while it computes
    quick = often(context, lease_seconds=0.3)
    fit = submit(quick, table, **SPEC)
    when_written(quick, fit, lambda: expire(quick))
    run_all(quick)
    lost = fits.get_fit(quick, fit["id"], OWNER)

    found, logged = ended(context, fit)

    assert (lost["status"], lost["attempt"]) == ("queued", 2)
    assert 0 < logged["checkpoint_found"]["step"] < SPEC["steps"]
    assert_same_numbers(found, undisturbed)


def test_a_worker_that_is_stopped_writes_down_how_far_it_came(
    context: Context, table: DatasetRequest, undisturbed: dict[str, Any]
) -> None:
    # given checkpoints that are due in an hour, and progress that is shown at once
    seldom = often(context, checkpoint_seconds=3600.0, lease_seconds=0.3)
    fit = submit(seldom, table, **SPEC)

    # when its worker is stopped on the way
    def stop() -> None:
        eventually(lambda: step_of(seldom, fit) > 0, 30)
        draining._draining.set()

    threading.Thread(target=stop).start()
    with structlog.testing.capture_logs() as logs:
        run_all(seldom)
    draining._draining.clear()

    # then another one goes on from just there
    [stopped_at] = [one["step"] for one in logs if one["event"] == "fit_requeued"]
    found, logged = ended(context, fit)
    assert 0 < stopped_at == logged["checkpoint_found"]["step"] < SPEC["steps"]
    assert_same_numbers(found, undisturbed)


def step_of(context: Context, fit: dict[str, Any]) -> int:
    return int(fits.get_fit(context, fit["id"], OWNER)["progress"]["step"])


def test_checkpoints_are_written_on_a_clock_that_their_cost_slows_down(
    context: Context, table: DatasetRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a clock that goes on by half a second whenever something is stored
    clock = SimpleNamespace(now=1_000.0)
    monkeypatch.setattr(checkpoints, "time", SimpleNamespace(monotonic=lambda: clock.now))
    put = context.storage.put

    def slow_put(key: str, content: bytes) -> None:
        put(key, content)
        clock.now += 0.5

    claim = claimed(context, submit(context, table, **SPEC)["id"])
    monkeypatch.setattr(context.storage, "put", slow_put)
    every_seconds = context.settings.checkpoint_seconds
    arrays = {"n_steps": np.array([1]), "seconds": np.array([0.0])}

    # when it is asked every second of some minutes
    kept = StoredCheckpoints(context, claim, Heartbeat(context, [claim]))
    due = []
    with structlog.testing.capture_logs() as logs:
        for second in range(200):
            clock.now = max(clock.now, 1_000.0 + second)
            if kept.is_due():
                due.append(second)
                kept.write(Checkpoint.from_arrays(arrays))

    # then the first one is due by the setting, and the others take a hundredth of the time
    assert due == [every_seconds, every_seconds + 51, every_seconds + 102, every_seconds + 153]
    told = {"event": "checkpoint_written", "step": 1, "seconds": 0.5, "log_level": "debug"}
    assert logs == [told] * 4


def test_what_was_cut_off_is_told_and_the_fit_begins_anew(
    context: Context, table: DatasetRequest, undisturbed: dict[str, Any]
) -> None:
    fit = given_back(context, table)
    [checkpoint] = kept(context, fit)
    context.storage.put(checkpoint, context.storage.get(checkpoint)[:-9])

    found, logged = ended(context, fit)

    assert "checkpoint_found" not in logged
    assert logged["checkpoint_damaged"]["fit_id"] == fit["id"]
    assert_same_numbers(found, undisturbed)


def test_what_another_kind_of_machine_wrote_is_left(
    context: Context,
    table: DatasetRequest,
    undisturbed: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fit = given_back(context, table)
    monkeypatch.setattr(fingerprint, "_cpu", lambda: {"kind": "cpu", "instruction_set": "Z80"})

    found, logged = ended(context, fit)

    assert "checkpoint_of_another_kind" in logged
    assert_same_numbers(found, undisturbed)


def test_a_store_that_takes_nothing_stops_no_fit(
    context: Context, table: DatasetRequest, undisturbed: dict[str, Any]
) -> None:
    # given a file where the store would make a directory, or has made one on a slow machine
    fit = submit(context, table, **SPEC)
    directory = context.settings.storage_root / CHECKPOINTS
    shutil.rmtree(directory, ignore_errors=True)
    directory.touch()

    with structlog.testing.capture_logs() as logs:
        run_all(often(context))

    assert_same_numbers(fits.get_fit(context, fit["id"], OWNER), undisturbed)
    assert "checkpoint_not_written" in {entry["event"] for entry in logs}


def test_a_checkpoint_is_dropped_once_its_fit_has_ended(
    context: Context, table: DatasetRequest
) -> None:
    fit = given_back(context, table)

    forget_checkpoints(context)
    waiting = kept(context, fit)
    lifecycle.cancel(context, fit["id"], OWNER)
    forget_checkpoints(context)

    assert len(waiting) == 1
    assert kept(context, fit) == []


def test_checkpoints_of_any_number_of_fits_are_dropped(
    context: Context, table: DatasetRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given more than are looked at together
    monkeypatch.setattr("service.checkpoints._AT_ONCE", 5)
    waiting = given_back(context, table)
    for i in range(12):
        context.storage.put(f"{CHECKPOINTS}/fit_{i}/1", b"content")

    forget_checkpoints(context)

    assert context.storage.names_below(CHECKPOINTS) == [waiting["id"]]


def test_a_fit_that_is_cancelled_leaves_none(context: Context, table: DatasetRequest) -> None:
    fit = submit(context, table, **SPEC)
    when_written(context, fit, lambda: lifecycle.cancel(context, fit["id"], OWNER))
    run_all(often(context))
    forget_checkpoints(context)

    assert fits.get_fit(context, fit["id"], OWNER)["status"] == "cancelled"
    assert kept(context, fit) == []
