"""Compiled loops give the plain loop's numbers, whatever is fitted."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from tests.workers.engine.drawn import Case, Spec, cases
from tests.workers.engine.given import mapping, noisy_plane, sgd
from workers.engine import Data, Result, Specification, fit


def computed(spec: Spec, data: Data, strategy: str, dtype: str = "float64") -> Result:
    changes = {"strategy": strategy, "dtype": dtype}
    return fit(Specification.from_mapping(spec | changes), data)


def numbers(result: Result) -> list[Any]:
    """All that a fit gives."""
    history = result.history
    final = np.array([np.nan if result.final_loss is None else result.final_loss])
    return [
        history.loss,
        history.grad_norm,
        history.epochs_train_loss,
        final,
        *result.weights.values(),
    ]


def floor(result: Result) -> float:
    """The first loss that is not 0."""
    loss = np.abs(result.history.loss)
    return float(loss[loss > 0][0]) if loss.any() else 1.0


def distance(found: Result, exact: Result) -> float:
    """The largest relative difference; below a ten-thousandth of the first loss, of that."""
    if found.n_steps != exact.n_steps:
        return np.inf
    least = 1e-4 * floor(exact)
    pairs = zip(numbers(found), numbers(exact), strict=True)
    return max(float((np.abs(a - b) / np.maximum(np.abs(b), least)).max()) for a, b in pairs)


@given(case=cases())
@settings(max_examples=150)
def test_float64_is_the_plain_loop(case: Case) -> None:
    spec, data = case

    result, plain = (computed(spec, data, name) for name in ("kernels", "reference"))

    # then every number agrees
    assert (result.status, result.n_steps) == (plain.status, plain.n_steps)
    for found, exact in zip(numbers(result), numbers(plain), strict=True):
        np.testing.assert_allclose(found, exact, rtol=1e-9, atol=1e-12 * floor(plain))
    assert result.history.lr.tolist() == plain.history.lr.tolist()


@given(case=cases(most_steps=20))
@settings(max_examples=75)
def test_float32_is_as_near_as_the_plain_loop(case: Case) -> None:
    spec, data = case
    exact = computed(spec, data, "reference")

    result, plain = (computed(spec, data, name, "float32") for name in ("kernels", "reference"))

    assert (result.status, result.n_steps) == (plain.status, plain.n_steps)
    assert distance(result, exact) <= max(1e-4, 2 * distance(plain, exact))


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu", "silu"])
@pytest.mark.parametrize("optimizer", [{"kind": "adam", "lr": 1e-3}, sgd(lr=0.02, momentum=0.9)])
def test_a_long_descent_is_no_farther_off_than_reversed_rows(
    optimizer: Spec, activation: str
) -> None:
    for seed in range(1):
        # given a network, and rows in both directions
        x = noisy_plane(120, 4, seed=seed).x
        data = Data(x, np.sin(2 * x[:, :1]) * x[:, 1:2])
        other = Data(x[::-1].copy(), data.y[::-1].copy())
        network = {
            "kind": "mlp", "hidden": [16, 8], "activation": activation, "dropout": 0.0,
            "batch_norm": False, "output": "auto",
        }  # fmt: skip
        spec = mapping(model=network, optimizer=optimizer, steps=1_000, seed=seed)

        plain = computed(spec, data, "reference")
        reversed_rows = distance(computed(spec, other, "reference"), plain)

        # then the compiled fit is where it is within the first 200 steps, or as near as they
        assert distance(computed(spec, data, "kernels"), plain) <= max(1e-9, reversed_rows)


def test_what_is_left_out_is_torchs_default() -> None:
    data = noisy_plane()
    for kind in ("sgd", "adam", "adamw", "rmsprop", "adagrad"):
        optimizer = {"kind": kind, "lr": 0.01} | ({"nesterov": False} if kind == "sgd" else {})
        spec = mapping(optimizer=optimizer, batch_size=8)

        result, plain = (computed(spec, data, name) for name in ("kernels", "reference"))

        assert distance(result, plain) < 1e-9
