"""A fit that is cancelled ends soon, whatever its worker is at: reading, fitting or measuring."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from service import fits, lifecycle
from service.context import Context
from service.queue import FITS_GPU
from service.schemas.datasets import DatasetRequest
from tests.service.conftest import OWNER
from tests.service.test_lifecycle import ALONE, expire, submit
from tests.workers.running import run_all
from workers import draining, fit_run, inputs, recording, runner, taking
from workers.engine import look, loss_over
from workers.measuring import measure
from workers.runner import run_waiting

# Rows that take a while, as the worker sees it.
MANY = {"kind": "linear", "n": 20_000, "coef": [1.0, 2.0], "seed": 1, "noise": 0.1}
CLASSES = {"kind": "blobs", "n": 3_000, "centers": [[0, 0], [2, 2]], "std": 1.0, "seed": 1}


@pytest.fixture(autouse=True)
def _undrained() -> Iterator[None]:
    yield
    draining._draining.clear()


def table_of(generator: dict[str, Any]) -> DatasetRequest:
    return DatasetRequest.model_validate({"generator": generator})


def run(context: Context, fit: dict[str, Any]) -> dict[str, Any]:
    run_all(context)
    return fits.get_fit(context, fit["id"], OWNER)


class Endless:
    """What goes on until nobody wants it any more, and says when it has begun."""

    def __init__(self) -> None:
        self.has_begun = threading.Event()

    def __call__(self, *_: Any, **__: Any) -> Any:
        self.has_begun.set()
        while True:
            look()
            time.sleep(0.001)


class Held(Endless):
    """What goes on until it is let go, whoever wants it."""

    def __init__(self, task: Any) -> None:
        super().__init__()
        self._task = task
        self.may_go_on = threading.Event()

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        self.has_begun.set()
        self.may_go_on.wait(10)
        return self._task(*arguments, **named)


def cancel_when(context: Context, fit: dict[str, Any], begun: threading.Event) -> None:
    def cancel() -> None:
        begun.wait(10)
        lifecycle.cancel(context, fit["id"], OWNER)

    threading.Thread(target=cancel).start()


def test_while_its_rows_are_read(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    reading = Endless()
    monkeypatch.setattr(runner, "_MANY_NUMBERS", 0)
    fit = submit(context, table_of(MANY))

    with monkeypatch.context() as patched:
        patched.setattr(inputs, "_load_rows", reading)
        cancel_when(context, fit, reading.has_begun)
        ended = run(context, fit)

    assert (ended["status"], ended["stop_reason"]) == ("cancelled", "cancelled")
    assert (ended["weights"], ended["loss_history"]) == (None, None)
    assert run(context, submit(context, table_of(MANY)))["status"] == "succeeded"


def test_while_it_is_measured(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    # given a fit whose metrics take for ever
    measuring = Endless()
    fit = submit(context, table_of(MANY))

    # when it is cancelled meanwhile
    with monkeypatch.context() as patched:
        patched.setattr(recording, "measure", measuring)
        cancel_when(context, fit, measuring.has_begun)
        ended = run(context, fit)

    # then it has all but these
    assert (ended["status"], ended["stop_reason"]) == ("cancelled", "cancelled")
    assert ended["metrics"] == {"train": None, "validation": None}
    assert ended["loss_history"]["n"] == 3
    undisturbed = run(context, submit(context, table_of(MANY)))
    assert ended["weights"] == undisturbed["weights"]
    assert ended["final_loss"] == undisturbed["final_loss"]


@pytest.mark.parametrize("generator", [MANY, CLASSES], ids=["numbers", "classes"])
def test_what_takes_long_is_left_out_of_one_that_was_running(
    context: Context, monkeypatch: pytest.MonkeyPatch, generator: dict[str, Any]
) -> None:
    # given a moment in which nothing can be measured
    monkeypatch.setattr(taking, "_MOMENT_SECONDS", -1.0)
    kind = {"model": {"kind": "logistic"}} if generator is CLASSES else {}
    fit = submit(context, table_of(generator), **ALONE, **kind, validation={"fraction": 0.2})
    threading.Timer(0.5, lifecycle.cancel, (context, fit["id"], OWNER)).start()

    # when it is cancelled
    ended = run(context, fit)

    # then it has what its steps left
    assert (ended["status"], ended["stop_reason"]) == ("cancelled", "cancelled")
    assert (ended["final_loss"], ended["metrics"]["train"]) == (None, None)
    assert "closed_form" not in ended["diagnostics"]
    assert ended["loss_history"]["n"] == ended["progress"]["step"] > 0
    assert ended["weights"] is not None
    assert "confusion" not in ended["plots"]
    assert "loss" in ended["plots"]


def test_where_it_takes_no_time_it_is_measured(context: Context, table: DatasetRequest) -> None:
    fit = submit(context, table, **ALONE)
    threading.Timer(0.5, lifecycle.cancel, (context, fit["id"], OWNER)).start()

    ended = run(context, fit)

    assert ended["final_loss"] is not None
    assert ended["metrics"]["train"]["mse"] == pytest.approx(ended["final_loss"], rel=1e-4)


def test_a_worker_that_is_to_stop_measures_what_it_has_fitted(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    measuring = Held(measure)
    monkeypatch.setattr(recording, "measure", measuring)
    fit = submit(context, table_of(MANY))

    def drain() -> None:
        measuring.has_begun.wait(10)
        draining._draining.set()
        time.sleep(0.2)
        measuring.may_go_on.set()

    threading.Thread(target=drain).start()
    ended = run(context, fit)

    assert (ended["status"], ended["metrics"]["train"] is None) == ("succeeded", False)


@pytest.mark.gpu
def test_on_a_device(context: Context) -> None:
    # given a fit of a device that would take minutes
    settings = context.settings.model_copy(update={"gpu": True})
    gpu = Context(settings, context.database, context.storage, context.queue, context.events)
    model = {"kind": "mlp", "hidden": [512, 512]}
    fit = submit(gpu, table_of(MANY), device="cuda", model=model, steps=10_000_000)

    # when it is cancelled after some of its steps
    def cancel() -> None:
        while fits.get_fit(gpu, fit["id"], OWNER)["progress"]["step"] == 0:
            time.sleep(0.05)
        lifecycle.cancel(gpu, fit["id"], OWNER)
        asked.append(time.monotonic())

    asked: list[float] = []
    threading.Thread(target=cancel).start()
    run_waiting(gpu, FITS_GPU)
    seconds = time.monotonic() - asked[0]

    # then it ends soon, with its history so far
    ended = fits.get_fit(gpu, fit["id"], OWNER)
    assert (ended["status"], ended["diagnostics"]["strategy"]) == ("cancelled", "graphs")
    assert ended["loss_history"]["n"] == ended["progress"]["step"] > 0
    assert seconds < 2


def test_a_claim_that_is_lost_while_it_is_measured_is_anothers(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = context.settings.model_copy(update={"lease_seconds": 0.3})
    quick = Context(settings, context.database, context.storage, context.queue, context.events)
    measuring = Endless()
    monkeypatch.setattr(recording, "measure", measuring)
    fit = submit(quick, table_of(MANY))

    def lose() -> None:
        measuring.has_begun.wait(10)
        expire(quick)

    threading.Thread(target=lose).start()
    lost = run(quick, fit)

    assert (lost["status"], lost["attempt"]) == ("queued", 2)
    assert lost["metrics"] is None


def test_a_worker_waits_for_what_it_left_alone_before_its_next_fit(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a fit that is cancelled while one long call sums its loss
    summing = Held(loss_over)
    monkeypatch.setattr(fit_run, "loss_over", summing)
    fit = submit(context, table_of(MANY), **ALONE)
    threading.Timer(0.5, lifecycle.cancel, (context, fit["id"], OWNER)).start()
    worker = threading.Thread(target=run_all, args=(context,))
    worker.start()

    # when the call goes on after the fit's end
    summing.has_begun.wait(10)
    while fits.get_fit(context, fit["id"], OWNER)["status"] != "cancelled":
        time.sleep(0.01)

    # then the worker takes nothing on until that is over
    assert worker.is_alive()
    time.sleep(0.2)
    assert worker.is_alive()
    summing.may_go_on.set()
    worker.join(10)
    assert not worker.is_alive()
