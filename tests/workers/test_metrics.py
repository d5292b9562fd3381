"""Metrics, gathered block by block, are scikit-learn's."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from sklearn import metrics

from workers.engine import regression_loops, warm_up
from workers.metrics import RegressionMetrics


def measured(true: np.ndarray, predicted: np.ndarray, block_rows: int = 1000) -> dict[str, float]:
    gathered = RegressionMetrics(true.shape[1])
    for first in range(0, len(true), block_rows):
        stop = first + block_rows
        gathered.add(true[first:stop], predicted[first:stop])
    return gathered.result()


def test_metrics_by_hand() -> None:
    true, predicted = np.array([[1.0], [2.0], [4.0]]), np.array([[1.0], [3.0], [2.0]])

    assert measured(true, predicted) == pytest.approx(
        {
            "mse": 5 / 3,
            "rmse": (5 / 3) ** 0.5,
            "mae": 1.0,
            "r2": 1 - 5 / (14 / 3),
            "max_error": 2.0,
        }
    )


# Sums of these are exact, so that a constant target has no spread for either.
finite = st.integers(-8_000_000, 8_000_000).map(lambda eighths: eighths / 8)


@given(
    npst.arrays(np.float64, st.tuples(st.integers(2, 20), st.integers(1, 3)), elements=finite),
    st.data(),
)
def test_metrics_are_scikit_learns(true: np.ndarray, data: st.DataObject) -> None:
    predicted = data.draw(npst.arrays(np.float64, true.shape, elements=finite))

    ours = measured(true, predicted, data.draw(st.integers(1, 20)))

    assert ours == pytest.approx(
        {
            "mse": metrics.mean_squared_error(true, predicted),
            "rmse": metrics.mean_squared_error(true, predicted) ** 0.5,
            "mae": metrics.mean_absolute_error(true, predicted),
            "r2": metrics.r2_score(true, predicted),
            "max_error": metrics.max_error(true.ravel(), predicted.ravel()),
        },
        rel=1e-9,
    )


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_metrics_of_many_blocks_are_scikit_learns(offset: float) -> None:
    # given more rows than a block, targets of different spreads far from 0
    rng = np.random.default_rng(0)
    true = offset + rng.normal(size=(100_003, 3)) * [1e-3, 1.0, 1e3]
    predicted = true + rng.normal(size=true.shape) * [1e-4, 2.0, 10.0]

    # then the blocks' metrics are those of all rows at once
    ours = measured(true, predicted, 999)
    assert ours == pytest.approx(
        {
            "mse": metrics.mean_squared_error(true, predicted),
            "rmse": metrics.mean_squared_error(true, predicted) ** 0.5,
            "mae": metrics.mean_absolute_error(true, predicted),
            "r2": metrics.r2_score(true, predicted),
            "max_error": metrics.max_error(true.ravel(), predicted.ravel()),
        },
        rel=1e-9,
    )


@pytest.mark.parametrize("block_rows", [1, 3, 7])
def test_a_constant_target_is_met_or_missed(block_rows: int) -> None:
    # given a number whose sums are rounded
    true = np.full((7, 1), 0.1)

    # then r2 is 1 where it is predicted, and 0 where it is not
    assert measured(true, true, block_rows)["r2"] == 1
    assert measured(true, true + 1, block_rows)["r2"] == 0


def test_sums_that_overflow_are_infinite() -> None:
    true = np.array([[1e154, 1e154], [-1e154, -1e154]])

    assert measured(true, 0 * true)["mse"] == np.inf


def test_metrics_of_one_row_or_of_overflow_are_not_numbers() -> None:
    one = np.ones((1, 1))

    assert np.isnan(measured(one, one)["r2"])
    assert not np.isfinite(list(measured(one, one * np.inf).values())).any()


def test_whatever_is_measured_runs_on_what_a_warm_process_has() -> None:
    # given a warm process
    warm_up()
    loops: list[Any] = [regression_loops.add_rows, regression_loops.told]
    before = [loop.signatures for loop in loops]

    # when columns, rows in another order and numbers that must not be written to are measured
    true, frozen = np.ones((3, 2), order="F"), np.ones((3, 2))
    frozen.flags.writeable = False
    measured(true, frozen)
    measured(frozen[::2, :1], true[::2, :1])

    # then they ran on what there was
    assert [loop.signatures for loop in loops] == before
    assert [len(signatures) for signatures in before] == [1, 1]
