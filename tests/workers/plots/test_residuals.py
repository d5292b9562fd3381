"""Predicted numbers beside the true ones."""

import numpy as np
import pytest

from service.context import Context
from service.schemas.datasets import DatasetRequest
from tests.workers.plots.given import (
    ADAM,
    NEAR_THE_LINE,
    NOISY,
    PARABOLA,
    X,
    drawn,
    ended,
    legend,
    lines,
    points,
)
from workers.plots.residuals import draw_predicted, draw_residuals


def test_every_row_stands_at_its_predicted_number(context: Context) -> None:
    subject = ended(context, NEAR_THE_LINE, steps=20, **ADAM)
    predicted = (
        subject.result["coefficients"]["intercept"] + X * subject.result["coefficients"]["x"]
    )

    axes = drawn(draw_predicted, subject)
    beside = drawn(draw_residuals, subject)

    np.testing.assert_allclose(points(axes), np.column_stack([NOISY, predicted]))
    np.testing.assert_allclose(points(beside), np.column_stack([predicted, NOISY - predicted]))
    assert np.array_equal(lines(axes)[0], [[NOISY.min()] * 2, [NOISY.max()] * 2])
    assert lines(beside)[0][:, 1].tolist() == [0, 0]
    assert axes.get_title() == "Predicted against true y"
    assert beside.get_title() == "Residuals of y"


def test_held_out_rows_are_marked(context: Context) -> None:
    subject = ended(context, NEAR_THE_LINE, validation={"fraction": 0.25})

    axes = drawn(draw_residuals, subject)

    assert legend(axes) == ["training rows", "validation rows"]
    assert (len(points(axes)), len(points(axes, 1))) == (15, 5)
    metrics = subject.result["metrics"]
    for i, part in enumerate(("train", "validation")):
        assert np.mean(points(axes, i)[:, 1] ** 2) == pytest.approx(metrics[part]["mse"])


def test_rows_of_another_dataset_are_held_out_too(context: Context) -> None:
    other = ended(context, DatasetRequest(columns={"x": [0.0, 9.0], "y": [1.0, 2.0]}))
    validation = {"dataset": other.fitted.row["dataset_id"]}

    axes = drawn(draw_predicted, ended(context, NEAR_THE_LINE, validation=validation))

    assert (len(points(axes)), len(points(axes, 1))) == (20, 2)
    assert np.array_equal(points(axes, 1)[:, 0], [1, 2])


def test_several_targets_have_several_colours(context: Context) -> None:
    both = ended(context, PARABOLA, target=["y", "z"], steps=20, **ADAM)

    axes = drawn(draw_predicted, both)

    assert legend(axes) == ["y", "z", "predicted = true"]
    assert np.array_equal(points(axes, 1)[:, 0], 1 - X)
    first, second = (np.asarray(scatter.get_facecolor()) for scatter in axes.collections)
    assert not np.array_equal(first, second)
    held_out = ended(context, PARABOLA, target=["y", "z"], validation={"fraction": 0.5})
    assert legend(drawn(draw_residuals, held_out)) == [
        "y, training", "z, training", "y, validation", "z, validation",
    ]  # fmt: skip


def test_of_many_targets_the_first_are_drawn(context: Context) -> None:
    names = [f"y{i}" for i in range(12)]
    wide = DatasetRequest(columns={"x": [0.0, 1.0]} | {name: [1.0, 2.0] for name in names})

    axes = drawn(draw_residuals, ended(context, wide, target=names))

    assert len(axes.collections) == 10
    assert axes.get_title() == "Residuals of targets, the first 10 of 12"


def test_counts_are_predicted_as_rates(context: Context) -> None:
    subject = ended(context, NEAR_THE_LINE, loss={"kind": "poisson"}, steps=20, **ADAM)
    fitted = subject.result["coefficients"]

    axes = drawn(draw_predicted, subject)

    expected = np.exp(fitted["intercept"] + fitted["x"] * X)
    np.testing.assert_allclose(points(axes)[:, 1], expected)
