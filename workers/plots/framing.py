"""What surrounds the marks of a picture: labels, limits, a legend that covers nothing."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Beyond it, the margins that axes leave at their ends are no finite numbers.
LARGEST = 1e307
_MOST_COLUMNS = 6
_MARGIN = 0.05
# Numbers that differ by more than this factor are read off a logarithmic axis.
_LOG_FROM_RATIO = 20.0


def drawable(values: NDArray[Any]) -> Floats:
    """The numbers as axes can hold them; what is no number stays that, and is not drawn."""
    clipped: Floats = np.clip(values.astype(np.float64), -LARGEST, LARGEST)
    return clipped


def frame(axes: Axes, title: str, x: str, y: str, *, grid: bool = True) -> None:
    """Write what the picture and its axes are."""
    axes.set_title(title)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    if grid:
        axes.grid(visible=True, alpha=0.3)


def legend_below(axes: Axes) -> None:
    """Explain the marks below the axes, in as many columns as there is room for."""
    handles, labels = axes.get_legend_handles_labels()
    figure = axes.figure
    if not isinstance(figure, Figure):
        raise TypeError("these axes are no whole figure's")
    renderer = FigureCanvasAgg(figure).get_renderer()
    for n_columns in range(min(len(labels), _MOST_COLUMNS), 0, -1):
        legend = figure.legend(handles, labels, loc="outside lower center", ncols=n_columns)
        if n_columns == 1 or legend.get_window_extent(renderer).width <= figure.bbox.width:
            return
        legend.remove()


def scale_losses(axes: Axes, *losses: Floats) -> None:
    """A logarithmic axis where losses fall far and none is 0 or below, else a linear one."""
    seen = np.concatenate(losses)
    seen = seen[np.isfinite(seen)]
    if not len(seen) or seen.min() <= 0 or seen.max() / seen.min() <= _LOG_FROM_RATIO:
        return
    axes.set_yscale("log")
    low, high = np.log10([seen.min(), seen.max()])
    margin = _MARGIN * (high - low)
    axes.set_ylim(10.0 ** max(low - margin, -307.0), 10.0 ** min(high + margin, 308.0))


def thin(n: int, most: int) -> NDArray[np.int64]:
    """At most so many evenly kept places of n, the first and the last among them."""
    return np.linspace(0, n - 1, min(n, most)).round().astype(np.int64)
