"""One claim end to end, and every way in which it does not end as hoped."""

import errno
import signal
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from service import datasets, fits, lifecycle
from service.context import Context
from service.errors import NotFound
from service.schemas.datasets import DatasetRequest
from tests.installations import ON_EACH
from tests.service.conftest import OWNER
from tests.service.stored import stored
from tests.service.test_lifecycle import expire, submit
from tests.workers.running import run_all
from workers import draining, inputs
from workers.engine import cpu_vendor

pytestmark = ON_EACH

LONG = {"steps": 1_000_000, "strategy": "reference"}


@pytest.fixture(autouse=True)
def _undrained() -> Iterator[None]:
    """Draining ends with the process, and so with each of these tests."""
    yield
    draining._draining.clear()


def run(context: Context, fit: dict[str, Any]) -> dict[str, Any]:
    run_all(context)
    return fits.get_fit(context, fit["id"], OWNER)


def test_a_fit_ends_with_all_that_belongs_to_it(context: Context, table: DatasetRequest) -> None:
    ended = run(context, submit(context, table, seed={"init": 4}))

    assert (ended["status"], ended["stop_reason"]) == ("succeeded", "completed")
    assert ended["progress"]["fraction"] == 1.0
    assert ended["loss_history"]["n"] == 3
    assert ended["fingerprint"]["seeds"] == {"init": 4, "shuffle": 0, "split": 0}
    assert ended["fingerprint"]["dataset_digest"] == ended["dataset"]["digest"]
    assert set(ended["diagnostics"]["seconds"]) == {"queued", "data", "compute", "record"}


def test_several_targets_have_coefficients_each(context: Context) -> None:
    wide = DatasetRequest(columns={"x": [1, 2], "y": [2, 3], "z": [3, 5]})

    ended = run(context, submit(context, wide, target=["y", "z"]))

    assert set(ended["coefficients"]) == {"y", "z"}
    assert set(ended["coefficients"]["z"]) == {"intercept", "x"}


def test_a_polynomial_is_numpys(context: Context) -> None:
    x = np.linspace(-1, 1, 30)
    y = np.sin(2 * x)
    curve = DatasetRequest(columns={"x": x.tolist(), "y": y.tolist()})
    lbfgs = {"kind": "lbfgs", "max_iter": 100, "tolerance_grad": 1e-14, "tolerance_change": 1e-16}

    ended = run(context, submit(
        context, curve, model={"kind": "polynomial", "degree": 3}, optimizer=lbfgs,
        standardize=True, dtype="float64", steps=5,
    ))  # fmt: skip

    expected = np.polynomial.polynomial.polyfit(x, y, 3)
    assert list(ended["coefficients"]) == ["intercept", "x", "x^2", "x^3"]
    np.testing.assert_allclose([*ended["coefficients"].values()], expected, atol=1e-8)


def test_steps_and_more_from_their_state_are_one_run(
    context: Context, table: DatasetRequest
) -> None:
    changes = {"optimizer": {"kind": "adam"}, "batch_size": 2}
    first = run(context, submit(context, table, steps=20, **changes))
    init = {"fit": first["id"], "optimizer_state": True}

    rest = run(context, submit(context, table, steps=20, init=init, **changes))

    whole = run(context, submit(context, table, steps=40, **changes))
    joined = first["loss_history"]["loss"] + rest["loss_history"]["loss"]
    assert joined == whole["loss_history"]["loss"]
    assert (rest["weights"], rest["final_loss"]) == (whole["weights"], whole["final_loss"])


def test_the_fingerprint_says_what_ran_and_why(context: Context, table: DatasetRequest) -> None:
    # given a feature beside its near twin
    x = np.linspace(-1, 1, 20)
    columns = {"x": x.tolist(), "twin": (x + 1e-4 * np.cos(9 * x)).tolist(), "y": x.tolist()}
    twins = DatasetRequest(columns=columns)

    plain, unsafe = (
        run(context, submit(context, data, dtype="float64"))["fingerprint"]
        for data in (table, twins)
    )

    assert (plain["strategy"], plain["fallback"]) == ("spectral", None)
    assert (unsafe["strategy"], unsafe["fallback"]) == ("kernels", "ill_conditioned")
    assert plain["device"]["vendor"] == cpu_vendor()


def test_another_dataset_validates(context: Context, table: DatasetRequest) -> None:
    columns = {"x": [0.0, 10.0], "y": [1.0, 12.0]}
    other = datasets.create_inline_dataset(context, DatasetRequest(columns=columns), OWNER)
    validation = {"dataset": other["id"]}

    spec = {"dtype": "float64", "strategy": "reference"}
    ended = run(context, submit(context, table, validation=validation, **spec))

    alone = run(context, submit(context, table, **spec))
    slope, intercept = ended["coefficients"]["x"], ended["coefficients"]["intercept"]
    residuals = [1.0 - intercept, 12.0 - intercept - 10 * slope]
    assert ended["metrics"]["validation"]["mse"] == pytest.approx(np.mean(np.square(residuals)))
    assert ended["weights"] == alone["weights"]
    kept = fits.read_artifact(context, ended["id"], "history", OWNER)
    assert kept["epochs.validation_loss"][-1] == ended["metrics"]["validation"]["mse"]


def test_a_class_that_only_validates_fails_as_the_users(context: Context) -> None:
    train = DatasetRequest(columns={"x": [0.0, 1.0, 2.0], "y": [0, 1, 1]})
    other = datasets.create_inline_dataset(
        context, DatasetRequest(columns={"x": [0.0], "y": [2]}), OWNER
    )

    failed = run(context, submit(
        context, train, model={"kind": "logistic"}, validation={"dataset": other["id"]}
    ))  # fmt: skip

    assert failed["error"]["code"] == "invalid_spec"
    assert "no class of the fit's own dataset" in failed["error"]["message"]


def test_the_trajectory_is_kept_where_it_is_asked_for(
    context: Context, table: DatasetRequest
) -> None:
    ended = run(context, submit(context, table, record={"weights": True, "gradients": True}))

    kept = fits.read_artifact(context, ended["id"], "trajectory", OWNER)
    assert kept["step"].tolist() == [0, 1, 2]
    assert kept["weight"].shape == kept["gradients.weight"].shape == (3, 1, 1)
    plain = run(context, submit(context, table))
    with pytest.raises(NotFound):
        fits.read_artifact(context, plain["id"], "trajectory", OWNER)


def test_the_final_weights_alone_are_kept_where_that_is_asked_for(
    context: Context, table: DatasetRequest
) -> None:
    ended = run(context, submit(context, table, record={"final_weights_only": True}))

    assert ended["loss_history"] is None
    assert ended["final_loss"] > 0
    assert fits.read_artifact(context, ended["id"], "weights", OWNER).keys() == {"weight", "bias"}
    with pytest.raises(NotFound):
        fits.read_artifact(context, ended["id"], "history", OWNER)


def test_a_running_fit_that_is_cancelled_keeps_what_it_has(
    context: Context, table: DatasetRequest
) -> None:
    fit = submit(context, table, **LONG)
    threading.Timer(0.5, lifecycle.cancel, (context, fit["id"], OWNER)).start()

    ended = run(context, fit)

    assert (ended["status"], ended["stop_reason"]) == ("cancelled", "cancelled")
    assert 0 < ended["progress"]["fraction"] < 1
    assert 0 < ended["loss_history"]["n"] < LONG["steps"]
    assert (
        len(fits.read_artifact(context, fit["id"], "history", OWNER)["loss"])
        == (ended["loss_history"]["n"])
    )


def test_a_wake_up_for_a_fit_that_does_not_wait_changes_nothing(
    context: Context, table: DatasetRequest
) -> None:
    ended = run(context, submit(context, table))

    assert run(context, ended) == ended


def test_a_worker_that_is_stopped_gives_its_fit_back(
    context: Context, table: DatasetRequest
) -> None:
    fit = submit(context, table, **LONG)
    before = signal.getsignal(draining.DRAIN_SIGNAL)
    draining.listen()
    threading.Timer(0.5, signal.raise_signal, (draining.DRAIN_SIGNAL,)).start()

    given_back = run(context, fit)

    signal.signal(draining.DRAIN_SIGNAL, before)
    assert (given_back["status"], given_back["attempt"]) == ("queued", 1)


def test_a_worker_that_is_being_stopped_claims_nothing(
    context: Context, table: DatasetRequest
) -> None:
    fit = submit(context, table)
    draining._draining.set()

    waiting = run(context, fit)

    assert waiting["status"] == "queued"
    assert waiting["started_at"] is None


def full_for(context: Context, monkeypatch: pytest.MonkeyPatch, n_writes: int) -> Context:
    """The same service, whose store has no room for so many writes."""
    left = [n_writes]
    put = context.storage.put

    def put_where_there_is_room(key: str, content: bytes) -> None:
        if left[0] > 0:
            left[0] -= 1
            raise OSError(errno.ENOSPC, "no space left on device")
        put(key, content)

    monkeypatch.setattr(context.storage, "put", put_where_there_is_room)
    settings = context.settings.model_copy(update={"inline_artifact_bytes": 0, "max_attempts": 2})
    return Context(settings, context.database, context.storage, context.queue, context.events)


def test_a_disk_that_is_full_for_a_while_costs_an_attempt(
    context: Context, table: DatasetRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = run(context, submit(context, table))
    full = full_for(context, monkeypatch, n_writes=1)
    fit = submit(full, table)

    held = run(full, fit)
    expire(full)
    ended = run(full, fit)

    assert (held["status"], held["attempt"]) == ("running", 1)
    assert (ended["status"], ended["attempt"]) == ("succeeded", 2)
    assert ended["weights"] == undisturbed["weights"]


def test_a_disk_that_stays_full_fails_the_fit(
    context: Context, table: DatasetRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = full_for(context, monkeypatch, n_writes=1_000)
    fit = submit(full, table)

    run(full, fit)
    expire(full)
    failed = run(full, fit)

    assert (failed["status"], failed["attempt"]) == ("failed", 2)
    assert failed["error"]["code"] == "internal_error"


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
    fit = submit(quick, table, **LONG)
    threading.Timer(0.5, expire, (quick,)).start()

    lost = run(quick, fit)

    assert (lost["status"], lost["attempt"]) == ("queued", 2)
    assert lost["loss_history"] is None


def test_progress_is_shown_while_a_fit_runs(context: Context, table: DatasetRequest) -> None:
    fit = submit(context, table, **LONG)
    seen: list[dict[str, Any]] = []

    def look() -> None:
        seen.append(fits.get_fit(context, fit["id"], OWNER))
        draining._draining.set()

    threading.Timer(2.5, look).start()
    run(context, fit)

    assert seen[0]["status"] == "running"
    assert 0 < seen[0]["progress"]["fraction"] < 1
    assert seen[0]["progress"]["eta_seconds"] > 0


def test_a_spec_that_only_the_engine_can_refuse_fails_as_the_users(
    context: Context, table: DatasetRequest
) -> None:
    beyond = {"weights": {"weight": [[1e300]], "bias": [0]}}
    failed = run(context, submit(context, table, init=beyond, dtype="float32"))

    assert (failed["status"], failed["stop_reason"]) == ("failed", "error")
    assert (failed["error"]["code"], failed["error"]["category"]) == ("invalid_spec", "user")


def test_a_crash_fails_the_fit_without_telling_its_insides(
    context: Context, table: DatasetRequest
) -> None:
    fit = submit(context, table)
    (table_key,) = stored(context)
    context.storage.put(table_key, b"torn")
    inputs._tables.clear()

    failed = run(context, fit)

    assert failed["status"] == "failed"
    assert (failed["error"]["code"], failed["error"]["category"]) == ("internal_error", "server")
    assert "arrow" not in failed["error"]["message"].lower()
