"""What an ended fit says of how it went, and of how it could have gone."""

from typing import Any

import numpy as np
import pytest

from service.context import Context
from service.schemas.datasets import DatasetRequest
from tests.service.test_lifecycle import submit
from tests.workers.test_runner import run

N_ROWS = 50


def plane(seed: int = 0) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N_ROWS, 2)) * [1, 30] + [0, 200]
    return x, x @ [2.0, -0.5] + 3 + rng.normal(size=N_ROWS)


def as_table(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> DatasetRequest:
    columns = {"a": x[:, 0].tolist(), "b": x[:, 1].tolist(), "y": y.tolist()}
    return DatasetRequest(columns=columns)


def optimum(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Intercept first, by numpy."""
    solution: np.ndarray[Any, Any] = np.linalg.lstsq(
        np.column_stack([np.ones(len(x)), x]), y, rcond=None
    )[0]
    return solution


@pytest.mark.parametrize("standardize", [False, True])
def test_least_squares_have_their_optimum_beside_them(context: Context, standardize: bool) -> None:
    # given a fit of a plane that is far from its end
    x, y = plane()
    request = {"standardize": standardize, "optimizer": {"kind": "sgd", "lr": 1e-6}, "steps": 5}

    # when it has ended
    found = run(context, submit(context, as_table(x, y), **request))["diagnostics"]

    # then the optimum is numpy's, in the data's own units, and the curvature its Hessian's
    best = optimum(x, y)
    coefficients = found["closed_form"]["coefficients"]
    np.testing.assert_allclose(
        [coefficients[name] for name in ("intercept", "a", "b")], best, rtol=1e-9
    )
    scaled = (x - x.mean(axis=0)) / x.std(axis=0) if standardize else x
    table = np.column_stack([np.ones(len(x)), scaled])
    eigenvalues = np.linalg.eigvalsh(2 * table.T @ table / len(x))
    assert found["max_stable_lr"] == pytest.approx(2 / eigenvalues[-1])
    assert found["best_constant_lr"] == pytest.approx(2 / (eigenvalues[0] + eigenvalues[-1]))
    assert found["condition_number"] == pytest.approx(eigenvalues[-1] / eigenvalues[0], rel=1e-6)
    assert found["closed_form"]["loss"] == pytest.approx(
        np.mean((y - np.column_stack([np.ones(len(x)), x]) @ best) ** 2)
    )
    assert found["closed_form"]["distance"] > 0
    assert found["steps_to_1e_6"] > 5


def test_features_that_repeat_each_other_have_no_condition(context: Context) -> None:
    x, y = plane()
    x[:, 1] = x[:, 0]

    found = run(context, submit(context, as_table(x, y)))["diagnostics"]

    assert found["condition_number"] is None
    assert found["closed_form"]["coefficients"]["a"] == pytest.approx(
        found["closed_form"]["coefficients"]["b"]
    )


@pytest.mark.parametrize(
    "request_",
    [
        {"loss": {"kind": "mae"}},
        {"penalty": {"l1": 0.1}},
        {"model": {"kind": "mlp", "hidden": [3]}},
    ],
)
def test_other_fits_have_the_plain_diagnostics(
    context: Context, table: DatasetRequest, request_: dict[str, Any]
) -> None:
    found = run(context, submit(context, table, **request_))["diagnostics"]

    assert set(found) == {
        "n_parameters", "strategy", "steps_per_second", "seconds", "peak_memory_bytes",
    }  # fmt: skip
    assert found["peak_memory_bytes"] > 10 * 1024**2


def test_a_rate_that_is_too_large_is_told_with_those_that_are_not(context: Context) -> None:
    # given a rate past the largest stable one
    x, y = plane()
    lr = 0.1

    # when the fit has diverged
    failed = run(context, submit(context, as_table(x, y), steps=1000, optimizer=sgd(lr)))

    # then its error names the rates at which it would not have
    diagnostics, error = failed["diagnostics"], failed["error"]
    assert (failed["status"], error["code"]) == ("failed", "diverged")
    assert f"{diagnostics['max_stable_lr']:.6g}" in error["hint"]
    assert f"{diagnostics['best_constant_lr']:.6g}" in error["hint"]
    for factor, status in ((0.99, "succeeded"), (1.01, "failed")):
        rate = factor * diagnostics["max_stable_lr"]
        again = submit(context, as_table(x, y), steps=100_000, optimizer=sgd(rate))
        assert run(context, again)["status"] == status


def test_what_is_no_plain_descent_is_named_where_the_rate_is_not_to_blame(
    context: Context,
) -> None:
    x, y = plane()
    decayed = {"kind": "sgd", "lr": 1e-6, "weight_decay": 3e6}

    failed = run(context, submit(context, as_table(x, y), steps=20_000, optimizer=decayed))

    assert failed["error"]["code"] == "diverged"
    assert "look at optimizer.weight_decay" in failed["error"]["hint"]


def test_where_no_rate_is_known_the_hint_is_general(context: Context) -> None:
    x, y = plane()

    failed = run(
        context,
        submit(context, as_table(x, y), steps=1000, optimizer=sgd(10), loss={"kind": "huber"},
               penalty={"l2": 10}),
    )  # fmt: skip

    assert failed["error"]["code"] == "diverged"
    assert "standardize" in failed["error"]["hint"]


def sgd(lr: float) -> dict[str, Any]:
    return {"kind": "sgd", "lr": lr}
