"""The picture of a range test: what is drawn, for every length of its curve."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from workers.lr_plot import draw_lr
from workers.plots.canvas import write_numbers_out


def curve(n: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Rates, smoothed losses that fall and blow up at last, and those before smoothing."""
    lr = np.geomspace(1e-7, 10, n)
    loss = np.linspace(4.0, 1.0, n)
    loss[-1:] = 1e12
    return lr, loss, loss + 0.1 * (-1) ** np.arange(n)


def legend(axes: Axes) -> list[str]:
    """What the legend says."""
    shown = axes.get_legend()
    assert shown is not None
    return [text.get_text() for text in shown.get_texts()]


def test_the_smoothed_curve_and_the_faint_raw_one_are_whole() -> None:
    axes = Figure().subplots()
    lr, loss, raw_loss = curve(50)

    draw_lr(axes, lr, loss, raw_loss, None)

    raw, smoothed = axes.get_lines()
    assert np.array_equal(raw.get_xydata(), np.column_stack([lr, raw_loss]))
    assert np.array_equal(smoothed.get_xydata(), np.column_stack([lr, loss]))
    assert raw.get_alpha() == 0.3
    assert smoothed.get_alpha() is None
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "linear")
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("learning rate", "loss")
    assert legend(axes) == ["loss", "smoothed loss"]
    assert axes.get_xgridlines()[0].get_visible()


@pytest.mark.parametrize(("first", "last"), [(1e-7, 10), (0.02, 0.05)])
def test_the_rates_are_written_out(first: float, last: float) -> None:
    figure = Figure()
    axes = figure.subplots()
    _, loss, raw_loss = curve(50)

    draw_lr(axes, np.geomspace(first, last, 50), loss, raw_loss, None)

    write_numbers_out(figure)
    figure.draw_without_rendering()
    written = [label.get_text() for label in axes.get_xticklabels(which="both")]
    shown = [float(text.replace("\N{MINUS SIGN}", "-")) for text in written if text]
    assert any(first <= rate <= last for rate in shown)


def test_every_suggestion_is_marked_on_the_smoothed_curve() -> None:
    axes = Figure().subplots()
    lr, loss, raw_loss = curve(50)

    draw_lr(axes, lr, loss, raw_loss, {"steepest": lr[30], "valley": lr[20]})

    assert legend(axes)[2:] == [f"steepest: {lr[30]:.3g}", f"valley: {lr[20]:.3g}"]
    upright, point, other_upright, other_point = axes.get_lines()[2:]
    for mark, i in ((point, 30), (other_point, 20)):
        assert np.array_equal(mark.get_xydata(), [[lr[i], loss[i]]])
    for line, i in ((upright, 30), (other_upright, 20)):
        assert np.array_equal(line.get_xdata(), [lr[i], lr[i]])
    assert point.get_color() != other_point.get_color()


def test_the_point_that_ended_the_test_does_not_flatten_the_rest() -> None:
    axes = Figure().subplots()

    draw_lr(axes, *curve(50), None)

    low, high = axes.get_ylim()
    assert 0 < low < 1
    assert 4 < high < 5


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_a_curve_of_few_points_can_be_drawn(n: int, tmp_path: Path) -> None:
    figure = Figure()

    draw_lr(figure.subplots(), *curve(n), None)

    figure.savefig(tmp_path / "lr.png")


def test_a_flat_curve_can_be_drawn(tmp_path: Path) -> None:
    figure = Figure()
    lr, flat = np.geomspace(1e-7, 10, 20), np.zeros(20)

    draw_lr(figure.subplots(), lr, flat, flat, {"steepest": 1e-3})

    figure.savefig(tmp_path / "lr.png")
