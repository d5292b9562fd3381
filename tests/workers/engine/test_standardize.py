"""Standardized features, and the end at a gradient of nearly nothing."""

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import StandardScaler

from tests.workers.engine.given import FULL_BATCH, mapping, noisy_plane, sgd
from workers.engine import Data, Result, Specification, SpecificationError, fit
from workers.engine.standardize import Scaling


def far_and_wide() -> Data:
    plane = noisy_plane(500, 3)
    return Data(plane.x * [0.1, 1.0, 100.0] + [5.0, 0.0, -1e3], plane.y)


def computed(data: Data, **changes: Any) -> Result:
    return fit(Specification.from_mapping(mapping(**changes)), data)


@pytest.mark.parametrize("strategy", FULL_BATCH)
def test_coefficients_are_least_squares_in_the_datas_own_units(strategy: str) -> None:
    data = far_and_wide()

    result = computed(data, standardize=True, strategy=strategy, steps=500, optimizer=sgd(lr=0.2))

    assert result.scaling is not None
    own = result.scaling.in_own_units(result.weights)
    best = LinearRegression().fit(data.x, data.y)
    np.testing.assert_allclose(own["weight"], best.coef_, rtol=1e-8)
    np.testing.assert_allclose(own["bias"], best.intercept_, rtol=1e-8)


def test_the_scaling_is_scikit_learns() -> None:
    data = far_and_wide()

    scaling = Scaling.of(data)

    expected = StandardScaler().fit(data.x)
    np.testing.assert_allclose(scaling.mean, expected.mean_, rtol=1e-12)
    np.testing.assert_allclose(scaling.std, expected.scale_, rtol=1e-12)
    np.testing.assert_allclose(scaling.scale(data.x), expected.transform(data.x), rtol=1e-9)


def test_many_blocks_are_scaled_like_one() -> None:
    x = np.random.default_rng(0).normal(3, 2, size=(200_000, 2))

    scaling = Scaling.of(Data(x, x[:, :1]))

    np.testing.assert_allclose(scaling.mean, x.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(scaling.std, x.std(axis=0), rtol=1e-12)


def test_a_constant_feature_is_refused() -> None:
    plane = noisy_plane(10, 2)
    constant = Data(np.column_stack([plane.x, np.full(10, 0.25)]), plane.y)

    with pytest.raises(SpecificationError, match="feature 2 is constant"):
        computed(constant, standardize=True)


@pytest.mark.parametrize("strategy", ["reference", "kernels", "spectral"])
def test_a_fit_ends_where_the_gradient_does(strategy: str) -> None:
    data = noisy_plane()
    changes = {"optimizer": sgd(lr=0.1), "strategy": strategy}

    result = computed(data, tolerance=1e-6, steps=100_000, **changes)
    whole = computed(data, steps=result.n_steps, **changes)

    assert result.status == "converged"
    assert len(result.history.loss) == result.n_steps < 100_000
    assert result.history.grad_norm[-1] > 1e-6
    # the steps up to there are those of a fit without a tolerance
    assert result.history.loss.tobytes() == whole.history.loss.tobytes()
    assert result.weights["weight"].tobytes() == whole.weights["weight"].tobytes()
    residual = data.y - data.x @ result.weights["weight"].T - result.weights["bias"]
    gradient = [*(-2 * (residual * data.x).mean(axis=0)), -2 * residual.mean()]
    assert np.abs(gradient).max() < 1e-6


def test_a_fit_that_starts_at_rest_makes_no_step() -> None:
    best = np.linalg.lstsq(np.eye(2), np.array([[1.0], [2.0]]), rcond=None)[0]
    init = {"weights": {"weight": best.T.tolist(), "bias": [0.0]}}

    result = computed(Data(np.eye(2), np.array([[1.0], [2.0]])), tolerance=1e-9, init=init)

    assert (result.status, result.n_steps) == ("converged", 0)
    assert result.final_loss == 0
