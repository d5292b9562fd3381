"""Descents end where solvers that are not ours say that the optimum is."""

import math
from typing import Any

import numpy as np
import pytest
from scipy.special import huber
from sklearn.datasets import load_iris
from sklearn.linear_model import (
    HuberRegressor,
    Lasso,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    QuantileRegressor,
    Ridge,
)
from sklearn.metrics import mean_pinball_loss

from tests.workers.engine.given import noisy_plane, sgd, specification
from tests.workers.engine.least import LBFGS, NORRIS, norris
from workers.engine import Data, Result, fit

PLAIN = pytest.mark.parametrize("strategy", ["reference", "auto"])
ADAM = {
    "kind": "adam", "lr": 0.1, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.0,
    "amsgrad": False,
}  # fmt: skip
LOGISTIC = {
    "model": {"kind": "logistic", "bias": True},
    "loss": {"kind": "bce", "pos_weight": None},
}
SOFTMAX = {
    "model": {"kind": "softmax", "bias": True},
    "loss": {"kind": "cross_entropy", "label_smoothing": 0.0, "class_weight": None},
}


def searched(data: Data, strategy: str, **changes: Any) -> Result:
    """The end of a few searches by LBFGS."""
    spec = specification(optimizer=LBFGS, steps=10, strategy=strategy, **changes)
    return fit(spec, data)


def cooled(data: Data, strategy: str, **changes: Any) -> Result:
    """The end of a descent with a rate that falls to nothing: losses with edges need one."""
    schedule = {"kind": "exponential", "interval": "step", "gamma": 0.99}
    spec = specification(
        optimizer=ADAM, scheduler=schedule, steps=2_000, strategy=strategy, **changes
    )
    return fit(spec, data)


def penalty(l1: float = 0.0, l2: float = 0.0) -> dict[str, float]:
    return {"l1": l1, "l2": l2}


def assert_at(result: Result, best: Any, rtol: float) -> None:
    """The weights are a fitted scikit-learn model's; those below a tenth, to a tenth of rtol."""
    weight, bias = result.weights["weight"], result.weights["bias"]
    coefficients = np.reshape(best.coef_, weight.shape)
    np.testing.assert_allclose(weight, coefficients, rtol=rtol, atol=rtol / 10)
    np.testing.assert_allclose(bias, best.intercept_, rtol=rtol, atol=rtol / 10)


def halves(n_rows: int = 200) -> Data:
    """Two classes that overlap: no plane tells all of them apart."""
    plane = noisy_plane(n_rows, 3)
    noise = np.random.default_rng(7).normal(scale=2, size=plane.y.shape)
    return Data(plane.x, (plane.y + noise > 3).astype(float), n_classes=2)


def outlying() -> Data:
    """A plane, and some rows far off it."""
    plane = noisy_plane(200, 3)
    far = np.where(np.arange(200) % 10 == 0, 30.0, 0.0)[:, None]
    return Data(plane.x, plane.y + far)


@PLAIN
def test_a_descent_reaches_the_certified_line_through_norris(strategy: str) -> None:
    # given features that were standardized, without which the condition number is 731,407
    spec = specification(standardize=True, optimizer=sgd(lr=0.4), steps=100, strategy=strategy)

    result = fit(spec, norris())

    assert result.scaling is not None
    own = result.scaling.in_own_units(result.weights)
    assert result.final_loss is not None
    certified = NORRIS["certified"]
    assert own["bias"][0] == pytest.approx(certified["intercept"], rel=1e-10)
    assert own["weight"][0, 0] == pytest.approx(certified["slope"], rel=1e-12)
    deviation = math.sqrt(36 * result.final_loss / 34)
    assert deviation == pytest.approx(certified["residual_std_dev"], rel=1e-11)


@PLAIN
@pytest.mark.parametrize("n_targets", [1, 3])
def test_least_squares(strategy: str, n_targets: int) -> None:
    data = noisy_plane(200, 4, n_targets)
    spec = specification(optimizer=sgd(lr=0.3), steps=2_000, strategy=strategy)

    assert_at(fit(spec, data), LinearRegression().fit(data.x, data.y), rtol=1e-10)


@PLAIN
def test_ridge(strategy: str) -> None:
    # given a penalty beside a mean of squares; Ridge has it beside their sum
    data, l2 = noisy_plane(200, 4), 0.3
    spec = specification(
        penalty=penalty(l2=l2), optimizer=sgd(lr=0.3), steps=300, strategy=strategy
    )

    assert_at(fit(spec, data), Ridge(alpha=200 * l2).fit(data.x, data.y[:, 0]), rtol=1e-10)


@PLAIN
@pytest.mark.parametrize("l2", [0.0, 0.02])
def test_logistic_regression(strategy: str, l2: float) -> None:
    # given a penalty beside a mean; scikit-learn has C times the sum beside half of Σw²
    data = halves()
    c = 1 / (2 * 200 * l2) if l2 else np.inf

    result = searched(data, strategy, penalty=penalty(l2=l2), **LOGISTIC)

    best = LogisticRegression(C=c, solver="newton-cholesky", tol=1e-12)
    assert_at(result, best.fit(data.x, data.y[:, 0]), rtol=1e-6)


@PLAIN
def test_softmax_on_iris(strategy: str) -> None:
    iris = load_iris()
    data = Data(iris.data, iris.target[:, None].astype(float), n_classes=3)
    l2 = 0.01

    result = searched(data, strategy, penalty=penalty(l2=l2), init={"kind": "zeros"}, **SOFTMAX)

    best = LogisticRegression(C=1 / (2 * 150 * l2), solver="newton-cg", tol=1e-12, max_iter=1_000)
    best.fit(iris.data, iris.target)
    np.testing.assert_allclose(result.weights["weight"], best.coef_, atol=1e-6)
    # The scores' common height is free.
    bias = result.weights["bias"] - result.weights["bias"].mean()
    np.testing.assert_allclose(bias, best.intercept_ - best.intercept_.mean(), atol=1e-5)


@PLAIN
def test_huber_at_the_scale_that_scikit_learn_finds(strategy: str) -> None:
    # given that for a fixed scale its loss is ours, times a constant, where lines begin at
    # epsilon times the scale
    data = outlying()
    best = HuberRegressor(epsilon=1.35, alpha=0.0, tol=1e-10, max_iter=1_000)
    best.fit(data.x, data.y[:, 0])

    delta = 1.35 * best.scale_
    theirs = huber(delta, data.y[:, 0] - best.predict(data.x)).mean()

    result = searched(data, strategy, loss={"kind": "huber", "delta": delta})

    # then its loss is no lower than ours, and as near above as its own search comes
    assert result.final_loss is not None
    assert theirs * (1 - 1e-9) <= result.final_loss <= theirs * (1 + 1e-14)
    assert_at(result, best, rtol=1e-4)


@PLAIN
@pytest.mark.parametrize("q", [0.2, 0.5])
def test_quantiles(strategy: str, q: float) -> None:
    # given the exact optimum of a linear program
    data = outlying()
    best = QuantileRegressor(quantile=q, alpha=0.0, solver="highs").fit(data.x, data.y[:, 0])
    least = mean_pinball_loss(data.y, best.predict(data.x), alpha=q)

    result = cooled(data, strategy, loss={"kind": "quantile", "q": q})

    assert result.final_loss is not None
    assert least * (1 - 1e-12) <= result.final_loss <= least * (1 + 1e-6)


@PLAIN
@pytest.mark.parametrize("l2", [0.0, 0.05])
def test_poisson_regression(strategy: str, l2: float) -> None:
    # given a penalty beside the loss; scikit-learn has half of both
    plane = noisy_plane(200, 3)
    rate = np.exp(0.4 * (plane.y - 3))
    data = Data(plane.x, np.random.default_rng(3).poisson(rate).astype(float))

    result = searched(data, strategy, loss={"kind": "poisson"}, penalty=penalty(l2=l2))

    best = PoissonRegressor(alpha=2 * l2, solver="newton-cholesky", tol=1e-12)
    assert_at(result, best.fit(data.x, data.y[:, 0]), rtol=1e-6)


@PLAIN
def test_lasso(strategy: str) -> None:
    # given a penalty that brings two of five weights to 0; Lasso halves the squares alone
    plane = noisy_plane(200, 5)
    data, l1 = Data(plane.x, plane.x[:, :3] @ [[2.0], [-1.0], [0.5]] + plane.y / 100), 0.3
    best = Lasso(alpha=l1 / 2, tol=1e-14, max_iter=100_000).fit(data.x, data.y[:, 0])
    squares = (data.y[:, 0] - best.predict(data.x)) ** 2
    least = squares.mean() + l1 * np.abs(best.coef_).sum()

    result = cooled(data, strategy, penalty=penalty(l1=l1))

    assert (best.coef_[3:] == 0).all()
    assert result.final_loss is not None
    assert least * (1 - 1e-12) <= result.final_loss <= least * (1 + 1e-6)
    np.testing.assert_allclose(result.weights["weight"][0], best.coef_, atol=1e-5)
