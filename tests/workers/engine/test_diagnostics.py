"""Linear least squares in closed form, held against other libraries."""

import math
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, Ridge

from tests.workers.engine.given import noisy_plane, sgd, specification
from tests.workers.engine.least import (
    LINEAR,
    NORRIS,
    THROUGH_ORIGIN,
    Streamed,
    flat,
    found,
    norris,
    stretched,
    zeros,
)
from workers.engine import Data, Shape, fit
from workers.engine.diagnostics import least_squares
from workers.engine.standardize import ScaledRows


@pytest.mark.parametrize("model", [LINEAR, THROUGH_ORIGIN])
@pytest.mark.parametrize("n_targets", [1, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_optimum_is_scikit_learns(
    model: dict[str, Any], n_targets: int, weighted: bool
) -> None:
    data = stretched(n_targets, weighted=weighted)

    best = found(data, model=model)

    line = LinearRegression(fit_intercept=model["bias"])
    line.fit(data.x, data.y, sample_weight=data.weight)
    np.testing.assert_allclose(best.weights["weight"], line.coef_, rtol=1e-11)
    if model["bias"]:
        np.testing.assert_allclose(best.weights["bias"], line.intercept_, rtol=1e-11)
    squares = (data.y - line.predict(data.x)) ** 2
    expected = np.average(squares.mean(axis=1), weights=data.weight)
    assert best.loss == pytest.approx(expected, rel=1e-12)
    assert list(best.weights) == (["weight", "bias"] if model["bias"] else ["weight"])


@pytest.mark.parametrize("n_targets", [1, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_penalized_optimum_is_ridge(n_targets: int, weighted: bool) -> None:
    # given a penalty on the mean loss
    data, l2 = stretched(n_targets, weighted=weighted), 0.3
    total = 60.0 if data.weight is None else data.weight.sum()

    best = found(data, penalty={"l1": 0.0, "l2": l2})

    # then scikit-learn's, on the sum over rows and targets, is as many times larger
    ridge = Ridge(alpha=l2 * total * n_targets, solver="cholesky")
    ridge.fit(data.x, data.y, sample_weight=data.weight)
    np.testing.assert_allclose(best.weights["weight"], np.atleast_2d(ridge.coef_), rtol=1e-10)
    np.testing.assert_allclose(best.weights["bias"], ridge.intercept_, rtol=1e-10)
    squares = (data.y - np.reshape(ridge.predict(data.x), data.y.shape)) ** 2
    expected = np.average(squares.mean(axis=1), weights=data.weight) + l2 * (ridge.coef_**2).sum()
    assert best.loss == pytest.approx(expected, rel=1e-12)


def test_the_line_through_norris_is_the_certified_one() -> None:
    certified = NORRIS["certified"]

    best = found(norris())

    assert best.weights["bias"][0] == pytest.approx(certified["intercept"], rel=1e-11)
    assert best.weights["weight"][0, 0] == pytest.approx(certified["slope"], rel=1e-13)
    assert 36 * best.loss == pytest.approx(certified["residual_sum_of_squares"], rel=1e-12)


def test_no_digit_is_lost_to_squares_of_the_data() -> None:
    # given features whose products with themselves would be singular in float64
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 2)) @ [[1.0, 1.0], [0.0, 1e-7]]
    data = Data(x, x @ [[2.0], [-1.0]])

    best = found(data)

    # then the exact coefficients are found as well as numpy finds them
    np.testing.assert_allclose(best.weights["weight"], [[2.0, -1.0]], rtol=1e-7)
    singular = np.linalg.svd(np.column_stack([x, np.ones(500)]), compute_uv=False)
    expected = (singular[0] / singular[-1]) ** 2
    assert best.condition_number == pytest.approx(expected, rel=1e-6)


def test_no_feature_is_too_small_in_its_own_units() -> None:
    plane = noisy_plane(50, 3)
    units = np.array([1e-20, 1.0, 1e12])

    best = found(Data(plane.x * units, plane.y))

    expected = found(plane).weights["weight"] / units
    np.testing.assert_allclose(best.weights["weight"], expected, rtol=1e-11)
    assert best.condition_number == math.inf


@pytest.mark.parametrize("weighted", [False, True])
def test_streamed_rows_give_the_same(weighted: bool) -> None:
    # given more rows than are read at once
    data = noisy_plane(150_000, 3, 2, weighted=weighted)
    source = Streamed(data)

    best, same = found(data), found(source)

    # then it is those in memory to the bit, from one pass
    assert flat(best.weights).tobytes() == flat(same.weights).tobytes()
    assert (best.loss, best.condition_number) == (same.loss, same.condition_number)
    assert [first for first, _ in source.reads] == [0, *(stop for _, stop in source.reads[:-1])]
    assert max(stop - first for first, stop in source.reads) == 65_536
    line = LinearRegression().fit(data.x, data.y, sample_weight=data.weight)
    np.testing.assert_allclose(same.weights["weight"], line.coef_, rtol=1e-11)


def test_rows_that_count_nothing_are_as_if_they_were_not_there() -> None:
    plane = noisy_plane(60, 3)
    weight = np.repeat([1.0, 0.0], [40, 20])

    best = found(Data(plane.x, plane.y, weight))

    alone = found(Data(plane.x[:40], plane.y[:40]))
    np.testing.assert_allclose(flat(best.weights), flat(alone.weights), rtol=1e-12)
    assert best.loss == pytest.approx(alone.loss, rel=1e-12)
    assert best.condition_number == pytest.approx(alone.condition_number, rel=1e-12)


@pytest.mark.parametrize("n_rows", [60, 3])
def test_the_shortest_of_many_optima(n_rows: int) -> None:
    # given a column that the others make up, or fewer rows than coefficients
    plane = noisy_plane(n_rows, 3, 2)
    data = Data(np.column_stack([plane.x, plane.x @ [1.0, -2.0, 3.0]]), plane.y)

    best = found(data)

    table = np.column_stack([data.x, np.ones(n_rows)])
    expected, _, rank, values = np.linalg.lstsq(table, data.y, rcond=None)
    columns = np.vstack([best.weights["weight"].T, best.weights["bias"]])
    np.testing.assert_allclose(columns, expected, rtol=1e-10, atol=1e-12)
    assert best.loss == pytest.approx(((data.y - table @ expected) ** 2).mean(), abs=1e-14)
    assert best.condition_number == math.inf
    most, least = (float(values[i]) ** 2 / n_rows for i in (0, rank - 1))
    assert best.max_stable_lr == pytest.approx(2 / most, rel=1e-10)
    assert best.best_constant_lr == pytest.approx(2 / (most + least), rel=1e-10)


def test_a_feature_that_is_always_0_weighs_nothing() -> None:
    plane = noisy_plane(60, 3)

    best = found(Data(np.column_stack([plane.x, np.zeros(60)]), plane.y))

    expected = [*found(plane).weights["weight"][0], 0.0]
    np.testing.assert_allclose(best.weights["weight"][0], expected, rtol=1e-12)
    assert best.condition_number == math.inf


def test_a_penalty_makes_one_of_many_optima_the_best() -> None:
    plane = noisy_plane(60, 2)
    twice = Data(np.column_stack([plane.x, plane.x]), plane.y)

    best = found(twice, penalty={"l1": 0.0, "l2": 0.1})

    left, right = np.split(best.weights["weight"], 2, axis=1)
    np.testing.assert_allclose(left, right, rtol=1e-12)
    assert math.isfinite(best.condition_number)


def test_the_distance_is_over_all_parameters() -> None:
    data = stretched(2)
    best = found(data)
    off = {"weight": best.weights["weight"] + 2, "bias": best.weights["bias"] - 1}

    assert found(data, best.weights).distance == 0
    assert found(data, off).distance == pytest.approx(math.sqrt(6 * 4 + 2), rel=1e-12)


def test_the_distance_of_weights_whose_squares_overflow() -> None:
    far = {"weight": np.full((1, 3), 3e200), "bias": np.full(1, 3e200)}

    assert found(stretched(), far).distance == pytest.approx(6e200)


def test_standardized_features_have_weights_of_their_own() -> None:
    data = stretched()
    spec = specification(standardize=True, steps=2_000, optimizer=sgd(lr=0.3))
    result = fit(spec, data)
    assert result.scaling is not None

    best = found(ScaledRows(result.split.train, result.scaling), result.weights)

    assert best.distance < 1e-12
    assert best.loss == pytest.approx(result.final_loss, rel=1e-12)
    own = result.scaling.in_own_units(best.weights)
    line = LinearRegression().fit(data.x, data.y)
    np.testing.assert_allclose(own["weight"], line.coef_, rtol=1e-11)
    np.testing.assert_allclose(own["bias"], line.intercept_, rtol=1e-11)


def test_a_polynomial_is_linear_in_its_terms() -> None:
    polynomial = {"kind": "polynomial", "bias": True, "degree": 2, "interactions": False}

    assert (
        flat(found(stretched(), model=polynomial).weights).tobytes()
        == flat(found(stretched()).weights).tobytes()
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": {"kind": "mae"}},
        {"penalty": {"l1": 0.1, "l2": 0.0}},
        {"model": {"kind": "logistic", "bias": True}},
    ],
)
def test_what_is_no_least_squares_has_no_closed_form(changes: dict[str, Any]) -> None:
    data = stretched()

    assert least_squares(specification(**changes), data, zeros(data.shape)) is None


@pytest.mark.parametrize(
    "data",
    [
        Data(np.full((2, 1), 1e300), np.ones((2, 1))),
        Data(np.full((2, 1), 1e-300), np.ones((2, 1))),
        Data(np.array([[np.inf], [1.0]]), np.ones((2, 1))),
        Data(np.ones((2, 1)), np.array([[np.nan], [1.0]])),
        Data(np.ones((2, 1)), np.array([[1e200], [-1e200]])),
        Data(np.zeros((2, 1)), np.ones((2, 1))),
        Data(np.ones((2, 1)), np.ones((2, 1)), np.zeros(2)),
    ],
)
def test_numbers_that_overflow_have_no_diagnostics(data: Data) -> None:
    spec = specification(model=THROUGH_ORIGIN)

    assert least_squares(spec, data, zeros(data.shape, bias=False)) is None


def test_too_many_features_are_left_alone() -> None:
    x = np.ones((1, 2_048))

    assert least_squares(specification(), Data(x, x[:, :1]), zeros(Shape(1, 2_048, 1))) is None
