"""The loss over two weights, and the way."""

from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.contour import QuadContourSet

from service.context import Context
from service.schemas.datasets import DatasetRequest
from service.suitability import SUITABLE
from tests.workers.plots.given import (
    ADAM,
    FROM_AFAR,
    HALVES,
    NEAR_THE_LINE,
    NOISY,
    PARABOLA,
    RECORDED,
    SGD,
    X,
    drawn,
    ended,
    legend,
    lines,
)
from workers.engine import loss_over
from workers.plots.subject import Subject
from workers.plots.surface import draw_surface, loss_grid

OF_NUMBERS = [kind for kind in SUITABLE["linear"] if kind != "hinge"]


def contours(axes: Axes) -> QuadContourSet:
    """The filled ones."""
    found = axes.collections[0]
    assert isinstance(found, QuadContourSet)
    return found


def test_the_grids_losses_are_those_that_were_descended(context: Context) -> None:
    penalty = {"l1": 0.25, "l2": 0.5}
    subject = ended(context, NEAR_THE_LINE, penalty=penalty)
    slopes, intercepts = np.array([-1.0, 0.0, 2.0]), np.array([0.5, 3.0])

    losses = loss_grid(subject, subject.rows().train.data, slopes, intercepts)

    a, b = np.meshgrid(slopes, intercepts)
    residual = NOISY - a[..., None] * X - b[..., None]
    expected = (residual**2).mean(axis=-1) + 0.25 * np.abs(a) + 0.5 * a**2
    np.testing.assert_allclose(losses, expected, rtol=1e-12)


def test_held_out_rows_and_scaling_are_the_fits_own(context: Context) -> None:
    subject = ended(context, NEAR_THE_LINE, standardize=True, validation={"fraction": 0.3},
                    dtype="float64")  # fmt: skip
    slope, intercept = subject.fitted.weights["weight"][0], subject.fitted.weights["bias"]

    losses = loss_grid(subject, subject.rows().train.data, slope, intercept)

    np.testing.assert_allclose(losses, [[subject.result["final_loss"]]], rtol=1e-12)


WEIGHED = DatasetRequest(
    columns={"x": X.tolist(), "w": [0.0, 1.0, 2.0, 0.5] * 5, "y": NOISY.tolist()}
)


@pytest.mark.parametrize(
    ("table", "changes"),
    [
        (HALVES, {"model": {"kind": "logistic"}}),
        (HALVES, {"model": {"kind": "logistic"}, "loss": {"kind": "bce", "pos_weight": 3}}),
        (HALVES, {"loss": {"kind": "hinge"}}),
        *((NEAR_THE_LINE, {"loss": {"kind": kind}}) for kind in OF_NUMBERS),
        (WEIGHED, {"sample_weight": "w", "penalty": {"l1": 0.1, "l2": 0}}),
    ],
)
def test_any_loss_has_its_surface(
    context: Context, table: DatasetRequest, changes: dict[str, Any]
) -> None:
    subject = ended(context, table, steps=30, dtype="float64", **ADAM, **changes)
    x, y = np.linspace(-3, 3, 4), np.linspace(-2, 5, 5)
    data = subject.rows().train.data

    losses = loss_grid(subject, data, x, y)

    expected = [
        [loss_over(subject.fitted.spec, at(slope, intercept), data) for slope in x]
        for intercept in y
    ]
    np.testing.assert_allclose(losses, expected, rtol=1e-12)
    assert len(np.array(contours(drawn(draw_surface, subject)).levels)) > 10


def at(slope: float, intercept: float) -> dict[str, Any]:
    return {"weight": np.array([[slope]]), "bias": np.array([intercept])}


def flat(subject: Subject) -> list[float]:
    return [*subject.fitted.weights["weight"][0], *subject.fitted.weights["bias"]]


def test_the_recorded_path_is_whole_and_inside(context: Context) -> None:
    subject = ended(context, NEAR_THE_LINE, steps=30, **FROM_AFAR, **SGD, **RECORDED)

    axes = drawn(draw_surface, subject)

    path, start, end = lines(axes)
    assert legend(axes) == ["path", "start", "end"]
    assert path.shape == (31, 2)
    assert start.tolist() == [[-3, -2]]
    assert end.tolist() == [flat(subject)]
    assert path[-1].tolist() == flat(subject)
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    assert ([left, low] < path.min(axis=0)).all()
    assert (path.max(axis=0) < [right, high]).all()
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("weight of x", "intercept")


def test_without_a_path_a_dotted_line_leads_to_the_end(context: Context) -> None:
    subject = ended(context, NEAR_THE_LINE, steps=30, **FROM_AFAR, **SGD)

    axes = drawn(draw_surface, subject)

    assert legend(axes) == ["start → end", "start", "end"]
    assert axes.get_lines()[0].get_linestyle() == ":"
    assert lines(axes)[0].tolist() == [[-3, -2], flat(subject)]


def test_of_final_weights_alone_the_end_is_marked(context: Context) -> None:
    subject = ended(context, NEAR_THE_LINE, record={"final_weights_only": True})

    assert legend(drawn(draw_surface, subject)) == ["end"]


def test_two_weights_of_two_features_have_their_names(context: Context) -> None:
    model = {"kind": "polynomial", "degree": 2, "bias": False}

    axes = drawn(draw_surface, ended(context, PARABOLA, features=["x"], model=model))

    assert (axes.get_xlabel(), axes.get_ylabel()) == ("weight of x", "weight of x^2")


def test_standardized_weights_say_so(context: Context) -> None:
    axes = drawn(draw_surface, ended(context, NEAR_THE_LINE, standardize=True))

    assert axes.get_xlabel() == "weight of x (features standardized)"


def test_of_many_rows_a_sample_is_said_to_be_one(context: Context) -> None:
    rows = {"kind": "linear", "n": 6000, "coef": [2]}
    subject = ended(context, DatasetRequest.model_validate({"generator": rows}))

    title = drawn(draw_surface, subject).get_title()

    assert title == "Loss over the two weights (5,000 of 6,000 rows)"


def test_levels_lie_closer_where_the_loss_is_low(context: Context) -> None:
    subject = ended(context, NEAR_THE_LINE, steps=30, **FROM_AFAR, **SGD)

    levels = np.array(contours(drawn(draw_surface, subject)).levels)

    assert (np.diff(levels) > 0).all()
    assert (np.diff(levels)[1:] > np.diff(levels)[:-1])[1:].all()


@pytest.mark.parametrize("slope", [1e200, 1e100])
def test_losses_past_all_numbers_leave_the_surface_empty(context: Context, slope: float) -> None:
    init = {"weights": {"weight": [[slope]], "bias": [0]}}
    subject = ended(context, NEAR_THE_LINE, init=init, dtype="float64", **SGD)

    axes = drawn(draw_surface, subject)

    assert axes.get_xlim()[0] < slope < axes.get_xlim()[1]
    assert bool(axes.collections) == (slope < 1e150)
