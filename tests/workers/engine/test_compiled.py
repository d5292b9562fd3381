"""Compiled loops give the plain loop's numbers, whatever is fitted."""

from typing import Any

import numpy as np
from hypothesis import given, settings

from tests.workers.engine.drawn import Case, Spec, cases
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


def conditioning(spec: Spec, data: Data, plain: Result) -> float:
    """How far off the plain loop ends that starts from weights whose last bits are others."""
    rng = np.random.default_rng(0)
    distances = []
    for _ in range(3):
        nudged = {
            name: (weight * (1 + rng.choice([-1, 1], weight.shape) * 2**-52)).tolist()
            for name, weight in plain.initial_weights.items()
        }
        other = computed(spec | {"init": {"weights": nudged}}, data, "reference")
        distances.append(distance(other, plain))
    return max(distances)


@given(case=cases())
@settings(max_examples=300)
def test_float64_is_the_plain_loop(case: Case) -> None:
    spec, data = case

    result, plain = (computed(spec, data, name) for name in ("kernels", "reference"))

    # then every number agrees to 1e-9, or as well as the plain loop's own hold
    rtol = max(1e-9, 10 * conditioning(spec, data, plain))
    assert (result.status, result.n_steps) == (plain.status, plain.n_steps)
    for found, exact in zip(numbers(result), numbers(plain), strict=True):
        np.testing.assert_allclose(found, exact, rtol=rtol, atol=1e-3 * rtol * floor(plain))
    assert result.history.lr.tolist() == plain.history.lr.tolist()


@given(case=cases(most_steps=20))
@settings(max_examples=150)
def test_float32_is_as_near_as_the_plain_loop(case: Case) -> None:
    spec, data = case
    exact = computed(spec, data, "reference")

    result, plain = (computed(spec, data, name, "float32") for name in ("kernels", "reference"))

    assert (result.status, result.n_steps) == (plain.status, plain.n_steps)
    assert distance(result, exact) <= max(1e-4, 2 * distance(plain, exact))
