"""Regions of classes, and how well these are told apart."""

from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure

from service.context import Context
from service.schemas.datasets import DatasetRequest
from tests.workers.plots.given import (
    ADAM,
    BLOBS,
    HALVES,
    MOONS,
    X,
    drawn,
    ended,
    legend,
    lines,
    points,
)
from workers.plots.boundary import draw_boundary
from workers.plots.class_colors import class_colors, region_colors
from workers.plots.scores import draw_confusion, draw_roc

LOGISTIC = {"model": {"kind": "logistic"}}
SOFTMAX = {"model": {"kind": "softmax"}}


def regions(axes: Axes) -> tuple[np.ndarray[Any, Any], QuadMesh]:
    """The numbers (side, side) that are coloured."""
    (mesh,) = (found for found in axes.collections if isinstance(found, QuadMesh))
    return np.asarray(mesh.get_array()), mesh


def test_the_plane_shows_the_second_classes_probability(context: Context) -> None:
    subject = ended(context, MOONS, steps=100, **LOGISTIC, **ADAM)
    fitted = subject.result["coefficients"]

    axes = drawn(draw_boundary, subject)

    likely, _ = regions(axes)
    x, y = (np.linspace(*limits, len(likely)) for limits in (axes.get_xlim(), axes.get_ylim()))
    a, b = np.meshgrid(x, y)
    odds = fitted["intercept"] + fitted["x1"] * a + fitted["x2"] * b
    np.testing.assert_allclose(likely, 1 / (1 + np.exp(-odds)), rtol=1e-6)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("x1", "x2")
    assert axes.get_title() == "Predicted y"
    assert legend(axes) == ["0", "1"]


def test_every_row_has_its_classes_colour(context: Context) -> None:
    subject = ended(context, BLOBS, steps=100, validation={"fraction": 0.3}, **SOFTMAX, **ADAM)

    axes = drawn(draw_boundary, subject)

    train = subject.rows().train.data
    assert np.array_equal(points(axes, 1), train.x)
    expected = class_colors(4)[train.y[:, 0].astype(int)]
    np.testing.assert_allclose(np.asarray(axes.collections[1].get_facecolor()), expected)
    assert legend(axes) == ["0", "1", "2", "3", "validation rows"]
    places, mesh = regions(axes)
    assert set(np.unique(places)) == {0, 1, 2, 3}
    np.testing.assert_allclose(mesh.get_cmap()([0, 1, 2, 3]), region_colors(4))


@pytest.mark.parametrize("kind", ["linear", "polynomial"])
def test_scores_that_are_no_probabilities_give_regions(context: Context, kind: str) -> None:
    subject = ended(context, MOONS, model={"kind": kind}, loss={"kind": "hinge"}, steps=50, **ADAM)

    places, _ = regions(drawn(draw_boundary, subject))

    assert set(np.unique(places)) == {0, 1}


def test_many_classes_are_not_named(context: Context) -> None:
    columns = {"a": X.tolist() * 2, "b": (X**2).tolist() * 2, "y": [f"c{i}" for i in range(40)]}
    subject = ended(context, DatasetRequest.model_validate({"columns": columns}), **SOFTMAX)

    axes = drawn(draw_boundary, subject)

    assert isinstance(axes.figure, Figure)
    assert axes.figure.legends == []
    assert len(np.unique(class_colors(40), axis=0)) == 40


def test_the_confusion_is_written_into_its_cells(context: Context) -> None:
    subject = ended(context, MOONS, steps=30, **LOGISTIC, **ADAM)

    axes = drawn(draw_confusion, subject)

    written = np.array([text.get_text() for text in axes.texts], np.int64).reshape(2, 2)
    assert np.array_equal(written, subject.result["metrics"]["train"]["confusion_matrix"])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["0", "1"]
    assert axes.get_title() == "Confusion matrix (training rows)"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "true")


def test_held_out_rows_are_the_ones_that_count(context: Context) -> None:
    subject = ended(context, MOONS, validation={"fraction": 0.5, "stratify": True}, **LOGISTIC)
    held_out = subject.result["metrics"]["validation"]

    confusion, roc = drawn(draw_confusion, subject), drawn(draw_roc, subject)

    written = [int(text.get_text()) for text in confusion.texts]
    assert written == np.ravel(held_out["confusion_matrix"]).tolist()
    assert confusion.get_title() == "Confusion matrix (validation rows)"
    assert roc.get_title() == "ROC (validation rows)"
    assert legend(roc)[0] == f"1: AUC {held_out['roc_auc']:.4g}"


def test_many_classes_are_coloured_and_not_written(context: Context) -> None:
    columns = {"a": list(range(50)), "y": [f"class {i % 25}" for i in range(50)]}
    subject = ended(context, DatasetRequest.model_validate({"columns": columns}), **SOFTMAX)

    axes = drawn(draw_confusion, subject)

    assert not axes.texts
    assert np.asarray(axes.images[0].get_array()).shape == (25, 25)
    assert 10 < len(axes.get_xticks()) <= 20


@pytest.mark.parametrize(
    "changes",
    [
        LOGISTIC,
        SOFTMAX,
        {"loss": {"kind": "hinge"}},
        {"model": {"kind": "mlp", "hidden": [3]}, "loss": {"kind": "cross_entropy"}},
    ],
)
def test_the_area_under_the_curve_is_the_metric(context: Context, changes: dict[str, Any]) -> None:
    subject = ended(context, HALVES, steps=30, **changes, **ADAM)

    axes = drawn(draw_roc, subject)

    (false_rate, true_rate), chance = (line.T for line in lines(axes))
    assert (false_rate[0], true_rate[0], false_rate[-1], true_rate[-1]) == (0, 0, 1, 1)
    area = np.trapezoid(true_rate, false_rate)
    assert area == pytest.approx(subject.result["metrics"]["train"]["roc_auc"])
    assert legend(axes) == [f"yes: AUC {area:.4g}", "chance"]
    assert chance.tolist() == [[0, 1], [0, 1]]


def test_each_class_has_a_curve_against_the_rest(context: Context) -> None:
    subject = ended(context, BLOBS, steps=3, **SOFTMAX)

    axes = drawn(draw_roc, subject)

    areas = [np.trapezoid(curve[:, 1], curve[:, 0]) for curve in lines(axes)[:4]]
    assert np.mean(areas) == pytest.approx(subject.result["metrics"]["train"]["roc_auc"])
    assert axes.get_title() == "ROC of each class against the rest (training rows)"
    assert [name.split(":")[0] for name in legend(axes)] == ["0", "1", "2", "3", "chance"]


def test_scores_that_overflowed_are_told(context: Context) -> None:
    huge = DatasetRequest(columns={"x": [1e308, -1e308, 1e308], "y": [0, 1, 1]})
    init = {"weights": {"weight": [[1e30]], "bias": [0]}}
    subject = ended(context, huge, init=init, dtype="float64", **LOGISTIC)

    axes = drawn(draw_roc, subject)

    assert [text.get_text() for text in axes.texts] == [
        "no two classes to tell apart by finite scores"
    ]
