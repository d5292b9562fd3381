"""The picture of two features' plane, coloured by the class that is predicted there."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from numpy.typing import NDArray

from workers.engine import answers, probabilities
from workers.plots.class_colors import MOST_NAMED, PROBABILITIES, class_colors, region_colors
from workers.plots.framing import drawable, frame, legend_below
from workers.plots.subject import Rows, Subject
from workers.plots.wording import name_of, sample_of

Floats = NDArray[np.float64]

_SIDE = 200
_MOST_ROWS = 5_000
_MARGIN = 0.06
_TWO = 2
_MARKERS = {"training": "o", "validation": "X"}
_SIZES = {"training": 24, "validation": 36}


def draw_boundary(axes: Axes, subject: Subject) -> None:
    """The predicted classes, or how likely the second of two is, with the rows on top."""
    rows = subject.rows(_MOST_ROWS)
    seen = drawable(np.concatenate([part.data.x[:, :2] for part in rows.parts.values()]))
    side = math.isqrt(subject.affordable(_SIDE**2))
    x, y = (_around(column, side) for column in seen.T)
    _draw_regions(axes, subject, x, y)
    _draw_rows(axes, subject, rows)
    title = f"Predicted {name_of(subject.fitted.columns.targets[0])}"
    names = map(name_of, subject.spec["features"])
    frame(axes, title + sample_of(list(rows.parts.values())), *names, grid=False)
    axes.set_xlim(x[0], x[-1])
    axes.set_ylim(y[0], y[-1])
    legend_below(axes)


def _around(values: Floats, side: int) -> Floats:
    low, high = values.min(), values.max()
    margin = _MARGIN * (high - low) or max(1.0, abs(high))
    return np.linspace(low - margin, high + margin, side)


def _draw_regions(axes: Axes, subject: Subject, x: Floats, y: Floats) -> None:
    loss, classes = subject.fitted.spec.loss, subject.fitted.classes or []
    grid = [axis.ravel() for axis in np.meshgrid(x, y)]
    outputs = subject.outputs(subject.features(*grid))
    likely = probabilities(loss, outputs)
    if likely is None or len(classes) > _TWO:
        regions = answers(loss, outputs)[:, 0]
        colors, (low, high) = (
            ListedColormap(region_colors(len(classes))),
            (-0.5, len(classes) - 0.5),
        )
    else:
        regions = likely[:, 1]
        colors, (low, high) = PROBABILITIES, (0.0, 1.0)
    shown = np.ma.masked_invalid(regions.reshape(len(y), len(x)))
    image = axes.pcolormesh(
        x, y, shown, cmap=colors, vmin=low, vmax=high, shading="nearest", rasterized=True
    )
    if colors is PROBABILITIES:
        bar = axes.figure.colorbar(image, ax=axes)
        bar.set_label(f"probability of {name_of(classes[1])}")
        if shown.min() < 0.5 < shown.max():  # noqa: PLR2004
            axes.contour(x, y, shown, [0.5], colors="0.2", linewidths=1.2)


def _draw_rows(axes: Axes, subject: Subject, rows: Rows) -> None:
    classes = subject.fitted.classes or []
    colors = class_colors(len(classes))
    for part_name, part in rows.parts.items():
        places = part.data.y[:, 0].astype(np.int64)
        x, y = drawable(part.data.x[:, :2]).T
        axes.scatter(
            x, y, c=colors[places], marker=_MARKERS[part_name], edgecolors="white",
            linewidths=0.5, s=_SIZES[part_name],
        )  # fmt: skip
    if len(classes) <= MOST_NAMED:
        for label, color in zip(classes, colors, strict=True):
            axes.scatter([], [], color=color, label=name_of(label), s=_SIZES["training"])
    if rows.validation is not None:
        axes.scatter(
            [], [], marker="X", color="0.5", label="validation rows", s=_SIZES["validation"]
        )
