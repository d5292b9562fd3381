"""The notebook's fit: every run that was recorded from it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.workers.engine.given import FULL_BATCH, sgd, specification
from workers.engine import Data, fit

CASE = json.loads((Path(__file__).parents[2] / "cases" / "notebook_seed42.json").read_text())
RUNS = [pytest.param(run, id=f"{run['dtype']}-{run['steps']}") for run in CASE["runs"]]
RELATIVE = {"float32": 1e-5, "float64": 1e-12}


def notebook_data() -> Data:
    x, y = np.array(CASE["x"]), np.array(CASE["y"])
    return Data(x=np.ascontiguousarray(x[:, 1:]), y=y[:, None])


def notebook_init() -> dict[str, Any]:
    bias, slope = CASE["w0"]
    return {"weights": {"weight": [[slope]], "bias": [bias]}}


@pytest.mark.parametrize("strategy", FULL_BATCH)
@pytest.mark.parametrize("run", RUNS)
def test_losses_and_weights_are_the_notebooks(run: dict[str, Any], strategy: str) -> None:
    # given the notebook's data, start and hyperparameters
    spec = specification(
        optimizer=sgd(lr=run["lr"]),
        init=notebook_init(),
        steps=run["steps"],
        dtype=run["dtype"],
        strategy=strategy,
    )

    # when they are fitted
    result = fit(spec, notebook_data())

    # then the losses before each update, and after the last, are those recorded
    losses = np.array([*result.history.loss, result.final_loss])
    rtol = RELATIVE[run["dtype"]]
    np.testing.assert_allclose(losses[run["loss_at"]], run["loss"], rtol=rtol)
    weights = [result.weights["bias"][0], result.weights["weight"][0, 0]]
    np.testing.assert_allclose(weights, run["w"], rtol=rtol)


@pytest.mark.parametrize("strategy", FULL_BATCH)
@pytest.mark.parametrize("run", RUNS)
def test_weights_on_the_way_are_the_notebooks(run: dict[str, Any], strategy: str) -> None:
    for steps, recorded in run["w_after"].items():
        # given a fit that ends where the notebook printed its weights
        spec = specification(
            optimizer=sgd(lr=run["lr"]),
            init=notebook_init(),
            steps=int(steps),
            dtype=run["dtype"],
            strategy=strategy,
        )

        # when it is computed
        result = fit(spec, notebook_data())

        # then the weights are those printed
        weights = [result.weights["bias"][0], result.weights["weight"][0, 0]]
        np.testing.assert_allclose(weights, recorded, rtol=RELATIVE[run["dtype"]])


@pytest.mark.parametrize("strategy", FULL_BATCH)
def test_a_long_descent_ends_at_least_squares(strategy: str) -> None:
    # given a learning rate near the largest stable one
    lr = 0.8 * CASE["ols"]["max_stable_lr"]
    spec = specification(optimizer=sgd(lr=lr), init=notebook_init(), steps=200, strategy=strategy)

    # when it has descended long enough
    result = fit(spec, notebook_data())

    # then it stands at the closed form
    weights = [result.weights["bias"][0], result.weights["weight"][0, 0]]
    np.testing.assert_allclose(weights, CASE["ols"]["w"], rtol=1e-9)
    assert result.final_loss == pytest.approx(CASE["ols"]["mse"], rel=1e-9)


@pytest.mark.parametrize("strategy", FULL_BATCH)
@pytest.mark.parametrize(("factor", "status"), [(0.99, "completed"), (1.01, "diverged")])
def test_it_diverges_past_the_largest_stable_lr(strategy: str, factor: float, status: str) -> None:
    # given a learning rate just beside the bound
    lr = factor * CASE["ols"]["max_stable_lr"]
    spec = specification(
        optimizer=sgd(lr=lr), init=notebook_init(), steps=3_000, dtype="float32", strategy=strategy
    )

    # then it ends as the bound says
    assert fit(spec, notebook_data()).status == status
