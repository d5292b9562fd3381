"""Ended fits, and what is drawn of them."""

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from service.context import Context
from service.schemas.datasets import DatasetRequest
from service.schemas.plots import PlotOptions
from tests.service.test_lifecycle import submit
from tests.workers.test_runner import run
from workers.plots.canvas import canvas
from workers.plots.subject import Subject

Floats = NDArray[np.float64]

X = np.linspace(-1, 1, 20)
LINE = DatasetRequest(columns={"x": X.tolist(), "y": (3 + 2 * X).tolist()})
NOISY = 3 + 2 * X + 0.3 * np.sin(9 * X)
NEAR_THE_LINE = DatasetRequest(columns={"x": X.tolist(), "y": NOISY.tolist()})
PARABOLA = DatasetRequest(columns={"x": X.tolist(), "y": (X**2).tolist(), "z": (1 - X).tolist()})
HALVES = DatasetRequest(
    columns={"x": X.tolist(), "y": ["no" if x < 0.2 * np.sin(40 * x) else "yes" for x in X]}
)
MOONS = DatasetRequest.model_validate({"generator": {"kind": "moons", "n": 60, "noise": 0.2}})
BLOBS = DatasetRequest.model_validate({"generator": {"kind": "blobs", "n": 90, "centers": 4}})

FROM_AFAR = {"init": {"weights": {"weight": [[-3]], "bias": [-2]}}, "dtype": "float64"}
ADAM = {"optimizer": {"kind": "adam", "lr": 0.1}}
SGD = {"optimizer": {"kind": "sgd", "lr": 0.3}}
RECORDED = {"record": {"weights": True}}
MLP = {"model": {"kind": "mlp", "hidden": [5], "activation": "tanh"}}


def ended(context: Context, table: DatasetRequest, **changes: Any) -> Subject:
    """A fit that has run to its end."""
    return Subject.load(context, run(context, submit(context, table, **changes))["id"])


def drawn(draw: Callable[[Axes, Subject], None], subject: Subject) -> Axes:
    """The axes after the drawing."""
    with canvas(PlotOptions()) as figure:
        axes = figure.subplots()
        draw(axes, subject)
    return axes


def legend(axes: Axes) -> list[str]:
    """What the figure's legend says."""
    figure = axes.figure
    assert isinstance(figure, Figure)
    (shown,) = figure.legends
    return [text.get_text() for text in shown.get_texts()]


def lines(axes: Axes) -> list[Floats]:
    """The vertices (m, 2) of the axes' lines."""
    return [np.asarray(line.get_xydata(), np.float64) for line in axes.get_lines()]


def points(axes: Axes, i: int = 0) -> Floats:
    """The points (m, 2) of one of the axes' scatters."""
    return np.asarray(axes.collections[i].get_offsets(), np.float64)
