"""What a fit's row keeps of an engine's result."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from sklearn import metrics

from workers.engine import History
from workers.metrics import regression_metrics
from workers.recording import thin


def history(n: int) -> History:
    steps = np.arange(n)
    empty = np.empty(0)
    return History(
        step=steps,
        epoch=steps,
        loss=1.0 / (1 + steps),
        lr=np.full(n, 0.1),
        grad_norm=np.ones(n),
        epochs_epoch=empty.astype(np.int64),
        epochs_train_loss=empty,
        epochs_validation_loss=empty,
    )


@pytest.mark.parametrize("n", [0, 1, 999, 1000])
def test_a_short_history_is_kept_whole(n: int) -> None:
    kept = thin(history(n))

    assert kept["n"] == len(kept["step"]) == n
    assert not kept["thinned"]


@pytest.mark.parametrize("n", [1001, 1999, 7000, 1_000_000])
def test_a_long_history_is_thinned_evenly_with_both_ends(n: int) -> None:
    kept = thin(history(n))

    assert kept["thinned"]
    assert kept["n"] == n
    assert len(set(kept["step"])) == 1000
    assert (kept["step"][0], kept["step"][-1]) == (0, n - 1)
    assert kept["loss"] == [1.0 / (1 + step) for step in kept["step"]]
    gaps = np.diff(kept["step"])
    assert gaps.max() - gaps.min() <= 1


def test_metrics_by_hand() -> None:
    true, predicted = np.array([[1.0], [2.0], [4.0]]), np.array([[1.0], [3.0], [2.0]])

    assert regression_metrics(true, predicted) == pytest.approx(
        {
            "mse": 5 / 3,
            "rmse": (5 / 3) ** 0.5,
            "mae": 1.0,
            "r2": 1 - 5 / (14 / 3),
            "max_error": 2.0,
        }
    )


finite = st.floats(-1e6, 1e6)


@given(
    npst.arrays(np.float64, st.tuples(st.integers(2, 20), st.integers(1, 3)), elements=finite),
    st.data(),
)
def test_metrics_are_scikit_learns(true: np.ndarray, data: st.DataObject) -> None:
    predicted = data.draw(npst.arrays(np.float64, true.shape, elements=finite))

    ours = regression_metrics(true, predicted)

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


def test_metrics_of_one_row_or_of_overflow_are_not_numbers() -> None:
    one = np.ones((1, 1))

    assert np.isnan(regression_metrics(one, one)["r2"])
    assert not np.isfinite(list(regression_metrics(one, one * np.inf).values())).any()
