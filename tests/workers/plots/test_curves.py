"""The data and the fitted curve."""

from typing import Any

import numpy as np
import pytest

from service.context import Context
from service.schemas.datasets import DatasetRequest
from tests.workers.plots.given import (
    ADAM,
    FROM_AFAR,
    HALVES,
    LINE,
    MLP,
    NEAR_THE_LINE,
    PARABOLA,
    X,
    drawn,
    ended,
    legend,
    lines,
    points,
)
from workers.plots.curves import draw_fit
from workers.plots.subject import Subject


def coefficients(subject: Subject) -> list[float]:
    """The intercept and the terms' coefficients, in the data's own units."""
    return [*subject.result["coefficients"].values()]


def test_the_fit_shows_the_data_and_both_lines(context: Context) -> None:
    newton = {"kind": "lbfgs", "tolerance_grad": 1e-14, "tolerance_change": 1e-16}
    subject = ended(context, LINE, steps=5, optimizer=newton, **FROM_AFAR)

    axes = drawn(draw_fit, subject)

    initial, fitted = lines(axes)
    assert np.array_equal(initial, [[-1, 1], [1, -5]])
    np.testing.assert_allclose(fitted, [[-1, 1], [1, 5]], rtol=1e-6)
    assert np.array_equal(points(axes), np.column_stack([X, 3 + 2 * X]))
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("x", "y")
    assert legend(axes) == ["data", "initial: −2 − 3·x", "fitted: 3 + 2·x"]


def test_a_standardized_line_is_in_the_datas_own_units(context: Context) -> None:
    thousands = DatasetRequest(columns={"x": (1000 * X).tolist(), "y": (3 + 2 * X).tolist()})
    subject = ended(context, thousands, standardize=True, steps=200, **ADAM)

    axes = drawn(draw_fit, subject)

    intercept, slope = coefficients(subject)
    ends = np.array([-1000, 1000])
    np.testing.assert_allclose(lines(axes)[1][:, 1], intercept + slope * ends)
    assert legend(axes)[2] == f"fitted: {intercept:.4g} + {slope:.4g}·x"


@pytest.mark.parametrize("slope", [1.5, -1.5])
def test_a_line_without_a_bias_has_no_intercept(context: Context, slope: float) -> None:
    init = {"weights": {"weight": [[slope]]}}
    subject = ended(context, LINE, model={"kind": "linear", "bias": False}, init=init,
                    optimizer={"kind": "sgd", "lr": 0})  # fmt: skip

    axes = drawn(draw_fit, subject)

    assert legend(axes)[2] == ("fitted: 1.5·x" if slope > 0 else "fitted: −1.5·x")


def test_a_polynomials_curve_is_numpys(context: Context) -> None:
    model = {"kind": "polynomial", "degree": 3}
    subject = ended(context, PARABOLA, features=["x"], model=model, steps=60, standardize=True,
                    **ADAM)  # fmt: skip

    x, fitted = lines(drawn(draw_fit, subject))[1].T

    assert len(x) == 400
    assert (x[0], x[-1]) == (-1, 1)
    expected = np.polynomial.polynomial.polyval(x, coefficients(subject))
    np.testing.assert_allclose(fitted, expected, rtol=1e-5)


def test_a_networks_curve_bends(context: Context) -> None:
    subject = ended(context, PARABOLA, features=["x"], steps=300, **MLP, **ADAM)

    (x, fitted), initial = (line.T for line in reversed(lines(drawn(draw_fit, subject))))

    np.testing.assert_allclose(fitted, x**2, atol=0.15)
    assert np.abs(initial[1] - fitted).max() > 0.3


@pytest.mark.parametrize(
    "changes",
    [
        {"model": {"kind": "logistic"}},
        {"model": {"kind": "softmax"}},
        {"model": {"kind": "mlp", "hidden": []}, "loss": {"kind": "bce"}},
    ],
)
def test_of_two_classes_the_curve_is_the_second_ones_probability(
    context: Context, changes: dict[str, Any]
) -> None:
    subject = ended(context, HALVES, steps=50, **changes, **ADAM)

    axes = drawn(draw_fit, subject)

    fitted = lines(axes)[1][:, 1]
    assert ((fitted > 0) & (fitted < 1)).all()
    assert (np.diff(fitted) > 0).all()
    assert axes.get_ylabel() == "probability that y is yes"
    assert [axes.get_yticklabels()[i].get_text() for i in (0, -1)] == ["0 (no)", "1 (yes)"]
    assert set(points(axes)[:, 1]) == {0, 1}


def test_a_logistic_curve_is_its_coefficients(context: Context) -> None:
    subject = ended(context, HALVES, model={"kind": "logistic"}, steps=50, **ADAM)

    x, fitted = lines(drawn(draw_fit, subject))[1].T

    intercept, slope = coefficients(subject)
    expected = 1 / (1 + np.exp(-intercept - slope * x))
    np.testing.assert_allclose(fitted, expected, rtol=1e-6)


def test_a_count_is_the_exponential(context: Context) -> None:
    subject = ended(context, NEAR_THE_LINE, loss={"kind": "poisson"}, steps=50, **ADAM)

    x, fitted = lines(drawn(draw_fit, subject))[1].T

    intercept, slope = coefficients(subject)
    expected = np.exp(intercept + slope * x)
    np.testing.assert_allclose(fitted, expected, rtol=1e-6)


def test_held_out_data_have_a_colour_of_their_own(context: Context) -> None:
    axes = drawn(draw_fit, ended(context, LINE, validation={"fraction": 0.25}))

    assert legend(axes)[:2] == ["training data", "validation data"]
    assert (len(points(axes)), len(points(axes, 1))) == (15, 5)
    joined = np.concatenate([points(axes), points(axes, 1)])
    assert np.array_equal(joined[joined[:, 0].argsort()], np.column_stack([X, 3 + 2 * X]))


def test_without_its_initial_weights_the_fitted_line_stands_alone(context: Context) -> None:
    axes = drawn(draw_fit, ended(context, LINE, record={"final_weights_only": True}))

    assert len(lines(axes)) == 1
    assert legend(axes)[1].startswith("fitted: ")


def test_a_line_far_off_does_not_flatten_the_data(context: Context) -> None:
    subject = ended(context, LINE, steps=3000, dtype="float64", strategy="reference",
                    optimizer={"kind": "sgd", "lr": 3})  # fmt: skip

    axes = drawn(draw_fit, subject)

    low, high = axes.get_ylim()
    assert subject.stop_reason == "diverged"
    assert -20 < low < 1
    assert 5 < high < 20


def test_the_curve_of_a_constant_column_is_seen(context: Context) -> None:
    constant = DatasetRequest(columns={"x": [2, 2], "y": [3, 4]})

    x, _ = lines(drawn(draw_fit, ended(context, constant)))[1].T

    assert np.ptp(x) > 0


def test_of_a_large_table_evenly_kept_rows_are_drawn(context: Context) -> None:
    rows = {"kind": "linear", "n": 30_000, "coef": [2]}
    subject = ended(context, DatasetRequest.model_validate({"generator": rows}))

    axes = drawn(draw_fit, subject)

    assert len(points(axes)) == 20_000
    assert axes.get_title() == "Data and fitted line (20,000 of 30,000 rows)"
