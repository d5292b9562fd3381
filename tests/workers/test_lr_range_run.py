"""A claimed range test end to end, and every way in which it does not end as hoped."""

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import structlog

from service import fits, lifecycle
from service.artifacts import load_arrays
from service.context import Context
from service.errors import NotFound
from service.kinds import LR_RANGE_TEST
from service.plots import Plot
from service.schemas.datasets import DatasetRequest
from service.schemas.plots import PlotOptions
from tests.service.conftest import OWNER
from tests.service.stored import stored
from tests.service.test_kinds import submit_test
from tests.service.test_lifecycle import expire, submit
from tests.workers.running import run_all
from tests.workers.test_runner import run as run_a_fit
from workers import draining, inputs
from workers.engine import Data, LrRange, Specification, lr_range_test
from workers.errands import run_errand

LONG = {"num_iter": 1_000_000, "end_lr": 1e-6}


@pytest.fixture(autouse=True)
def _undrained() -> Iterator[None]:
    """Draining ends with the process, and so with each of these tests."""
    yield
    draining._draining.clear()


def run(context: Context, test: dict[str, Any]) -> dict[str, Any]:
    run_all(context)
    return fits.get_fit(context, test["id"], OWNER, LR_RANGE_TEST)


def test_the_curve_is_the_engines(context: Context, table: DatasetRequest) -> None:
    rule = {"start_lr": 1e-3, "end_lr": 1.0, "num_iter": 40, "smooth_f": 0.5, "diverge_th": 9.0}
    test = submit_test(context, table, dtype="float64", batch_size=2, **rule)

    ended = run(context, test)

    columns = {name: np.array(numbers) for name, numbers in (table.columns or {}).items()}
    data = Data(columns["x"][:, None], columns["y"][:, None])
    spec = Specification.from_mapping(ended["spec"] | {"steps": 1})
    expected = lr_range_test(spec, LrRange(**rule), data)  # type: ignore[arg-type]
    assert (ended["status"], ended["stop_reason"]) == ("succeeded", "diverged")
    assert ended["result"] == {
        "lr": expected.lr.tolist(),
        "loss": expected.loss.tolist(),
        "raw_loss": expected.raw_loss.tolist(),
        "suggestion": {"steepest": expected.steepest, "valley": expected.valley},
        "reason": None,
        "stop_reason": "diverged",
    }
    assert ended["error"] is None


def test_an_end_says_how_far_it_came_and_by_what(context: Context, table: DatasetRequest) -> None:
    test = submit_test(context, table, num_iter=20, end_lr=1e-3, batch_size=2, seed={"init": 4})

    ended = run(context, test)

    n_points = len(ended["result"]["lr"])
    assert (ended["stop_reason"], n_points) == ("completed", 20)
    assert ended["progress"] == {
        "fraction": 1.0, "step": 20, "total_steps": 20, "epoch": 9,
        "loss": ended["result"]["raw_loss"][-1], "lr": ended["result"]["lr"][-1],
        "eta_seconds": 0.0,
    }  # fmt: skip
    assert ended["fingerprint"]["seeds"] == {"init": 4, "shuffle": 0, "split": 0}
    assert ended["fingerprint"]["dataset_digest"] == ended["dataset"]["digest"]
    assert ended["fingerprint"]["strategy"] == ended["diagnostics"]["strategy"] == "reference"
    assert ended["diagnostics"]["n_parameters"] == 2
    assert set(ended["diagnostics"]["seconds"]) == {"queued", "data", "compute", "record"}


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": 3},
        {"epochs": 4, "steps": 3},
        {"optimizer": {"kind": "sgd", "lr": 77.0}},
        {"scheduler": {"kind": "one_cycle", "max_lr": 9, "total_steps": 1, "interval": "step"},
         "optimizer": {"kind": "sgd"}},
        {"early_stopping": {}, "tolerance": 1e9, "record": {"final_weights_only": True}},
        {"validation": {"dataset": "ds_elsewhere"}, "strategy": "kernels"},
    ],
)  # fmt: skip
def test_what_plays_no_part_changes_nothing(
    context: Context, table: DatasetRequest, changes: dict[str, Any]
) -> None:
    bare = run(context, submit_test(context, table))

    ended = run(context, submit_test(context, table, **changes))

    assert ended["result"] == bare["result"]


def test_a_curve_too_short_says_why_it_suggests_nothing(
    context: Context, table: DatasetRequest
) -> None:
    ended = run(context, submit_test(context, table, num_iter=5, end_lr=1e-3))

    assert ended["status"] == "succeeded"
    assert ended["result"]["suggestion"] is None
    assert "a suggestion needs 17 points, and the curve has 5" in ended["result"]["reason"]


def test_a_loss_that_is_never_finite_is_a_success_without_points(context: Context) -> None:
    huge = DatasetRequest(columns={"x": [1.0, 2.0], "y": [1e30, -1e30]})

    ended = run(context, submit_test(context, huge))

    assert (ended["status"], ended["stop_reason"]) == ("succeeded", "diverged")
    assert ended["result"]["lr"] == []
    assert ended["result"]["stop_reason"] == "diverged"
    assert ended["progress"]["loss"] is None


def test_it_begins_with_the_weights_that_another_fit_ended_with(
    context: Context, table: DatasetRequest
) -> None:
    first = run_a_fit(context, submit(context, table, dtype="float64"))

    test = submit_test(context, table, dtype="float64", init={"fit": first["id"]})
    fits.delete_fit(context, first["id"], OWNER)
    ended = run(context, test)

    assert ended["result"]["raw_loss"][0] == pytest.approx(first["final_loss"], rel=1e-12)


def test_a_fit_after_it_is_as_if_it_had_never_run(context: Context, table: DatasetRequest) -> None:
    network = {
        "model": {"kind": "mlp", "hidden": [4], "dropout": 0.5}, "batch_size": 2, "seed": 3,
        "optimizer": {"kind": "adam"},
    }  # fmt: skip
    before = run_a_fit(context, submit(context, table, **network))

    ended = run(context, submit_test(context, table, **network))

    after = run_a_fit(context, submit(context, table, **network))
    assert after["weights"] == before["weights"]
    assert after["loss_history"] == before["loss_history"]
    assert ended["result"]["raw_loss"][0] == after["loss_history"]["loss"][0]


def test_a_very_long_curve_stays_whole(context: Context, table: DatasetRequest) -> None:
    ended = run(context, submit_test(context, table, num_iter=3_000, end_lr=1e-6))

    assert len(ended["result"]["lr"]) == len(ended["result"]["loss"]) == 3_000
    assert ended["result"]["suggestion"].keys() == {"steepest", "valley"}


def test_a_running_test_that_is_cancelled_keeps_its_curve_so_far(
    context: Context, table: DatasetRequest
) -> None:
    test = submit_test(context, table, **LONG)
    threading.Timer(0.5, lifecycle.cancel, (context, test["id"], OWNER, LR_RANGE_TEST)).start()

    ended = run(context, test)

    n_points = len(ended["result"]["lr"])
    assert (ended["status"], ended["stop_reason"]) == ("cancelled", "cancelled")
    assert 0 < n_points == len(ended["result"]["raw_loss"]) < LONG["num_iter"]
    assert ended["progress"]["fraction"] == n_points / LONG["num_iter"]
    assert (ended["result"]["suggestion"], ended["result"]["stop_reason"]) == (None, None)
    assert "interrupted" in ended["result"]["reason"]


def test_its_time_has_an_end(context: Context, table: DatasetRequest) -> None:
    ended = run(context, submit_test(context, table, limits={"max_seconds": 0.3}, **LONG))

    assert (ended["status"], ended["stop_reason"]) == ("succeeded", "time_limit")
    assert 0 < len(ended["result"]["lr"]) < LONG["num_iter"]
    assert (ended["result"]["suggestion"], ended["result"]["stop_reason"]) == (None, None)


def test_a_worker_that_is_stopped_gives_its_test_back(
    context: Context, table: DatasetRequest
) -> None:
    test = submit_test(context, table, **LONG)
    threading.Timer(0.5, draining._draining.set).start()

    given_back = run(context, test)

    assert (given_back["status"], given_back["attempt"]) == ("queued", 1)
    assert given_back["result"] is None


def test_it_goes_on_elsewhere_as_if_it_had_never_stopped(
    context: Context, table: DatasetRequest
) -> None:
    rule = {"num_iter": 6_000, "end_lr": 1e-6}
    undisturbed = run(context, submit_test(context, table, **rule))
    test = submit_test(context, table, **rule)

    threading.Timer(0.3, draining._draining.set).start()
    given_back = run(context, test)
    draining._draining.clear()
    with structlog.testing.capture_logs() as logs:
        ended = run(context, test)

    assert given_back["status"] == "queued"
    (found,) = [entry for entry in logs if entry["event"] == "checkpoint_found"]
    assert 0 < found["step"] < rule["num_iter"]
    assert (ended["status"], ended["result"]) == ("succeeded", undisturbed["result"])


def test_a_worker_that_lost_its_claim_stops_and_writes_nothing(
    context: Context, table: DatasetRequest
) -> None:
    quick = Context(
        context.settings.model_copy(update={"lease_seconds": 0.3}),
        context.database,
        context.storage,
        context.queue,
        context.events,
    )
    test = submit_test(quick, table, **LONG)
    threading.Timer(0.5, expire, (quick,)).start()

    lost = run(quick, test)

    assert (lost["status"], lost["attempt"], lost["result"]) == ("queued", 2, None)


def test_progress_is_shown_while_it_runs(context: Context, table: DatasetRequest) -> None:
    test = submit_test(context, table, **LONG)
    seen: list[dict[str, Any]] = []

    def look() -> None:
        seen.append(fits.get_fit(context, test["id"], OWNER, LR_RANGE_TEST))
        draining._draining.set()

    threading.Timer(2.5, look).start()
    run(context, test)

    assert seen[0]["status"] == "running"
    assert 0 < seen[0]["progress"]["fraction"] < 1
    assert 1e-7 < seen[0]["progress"]["lr"] < 1e-6


def test_what_only_the_engine_can_refuse_fails_as_the_users(
    context: Context, table: DatasetRequest
) -> None:
    beyond = {"weights": {"weight": [[1e300]], "bias": [0]}}

    failed = run(context, submit_test(context, table, init=beyond))

    assert (failed["status"], failed["stop_reason"]) == ("failed", "error")
    assert (failed["error"]["code"], failed["error"]["category"]) == ("invalid_spec", "user")
    assert failed["result"] is None


def test_a_crash_fails_it_without_telling_its_insides(
    context: Context, table: DatasetRequest
) -> None:
    test = submit_test(context, table)
    (table_key,) = stored(context)
    context.storage.put(table_key, b"torn")
    inputs._tables.clear()

    failed = run(context, test)

    assert (failed["status"], failed["error"]["code"]) == ("failed", "internal_error")


def test_nothing_is_kept_beside_its_row(context: Context, table: DatasetRequest) -> None:
    test = submit_test(context, table)

    run(context, test)

    for name in ("weights", "history", "state"):
        with pytest.raises(NotFound):
            load_arrays(context, test["id"], name)


def draw(context: Context, test_id: str) -> tuple[str, dict[str, Any]]:
    arguments = {"fit_id": test_id, "kind": "lr", "plot_format": "png", "options": {}}
    run_errand(context, "t", "lr_plot", arguments)
    told = context.events.first("t", seconds=1)
    assert told is not None
    return told


@pytest.mark.parametrize("changes", [{}, {"num_iter": 2, "end_lr": 1e-3}])
def test_its_picture_is_drawn_and_kept(
    context: Context, table: DatasetRequest, changes: dict[str, Any]
) -> None:
    test = run(context, submit_test(context, table, **changes))

    assert draw(context, test["id"]) == ("done", {})
    kept = context.storage.get(Plot("lr", "png", PlotOptions()).key(test["id"]))
    assert kept.startswith(b"\x89PNG")


def test_the_picture_of_what_is_gone_says_so(context: Context, table: DatasetRequest) -> None:
    test = run(context, submit_test(context, table))
    fits.delete_fit(context, test["id"], OWNER, LR_RANGE_TEST)

    outcome, told = draw(context, test["id"])

    assert (outcome, told["code"]) == ("refused", "gone")
