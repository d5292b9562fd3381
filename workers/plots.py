"""The pictures of a fit, with matplotlib's Figure alone: pyplot keeps figures alive in servers."""

import io
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import matplotlib as mpl
import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from service.schemas.plots import PlotFormat, PlotOptions

Arrays = Mapping[str, NDArray[Any]]
Given = TypeVar("Given")

MOST_DRAWN_POINTS = 20_000
# A loss that falls by more than this factor is read off a logarithmic axis.
_LOG_FROM_RATIO = 20.0


@dataclass(frozen=True)
class PlotInput:
    """What pictures are drawn from.

    `x` and `y` are (n,) float64, empty but for the kinds in `DRAWN_WITH_DATA`.
    """

    spec: Mapping[str, Any]
    stop_reason: str
    history: Arrays
    weights: Arrays
    initial_weights: Arrays
    x: NDArray[np.float64]
    y: NDArray[np.float64]


def render(
    draw: Callable[[Axes, Given], None],
    given: Given,
    plot_format: PlotFormat,
    options: PlotOptions,
) -> bytes:
    """The picture's bytes: the same input gives the same bytes."""
    style = "dark_background" if options.theme == "dark" else "default"
    buffer = io.BytesIO()
    # A column's name is a name, even where it looks like TeX; the salt keeps an SVG's ids the same.
    fixed = mpl.rc_context({"text.parse_math": False, "svg.hashsalt": "thalweg"})
    with matplotlib.style.context(style), fixed, warnings.catch_warnings():
        # A name in a script that the font lacks is drawn with boxes rather than not at all.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure = Figure(
            figsize=(options.width / options.dpi, options.height / options.dpi),
            dpi=options.dpi,
            layout="constrained",
        )
        draw(figure.subplots(), given)
        undated = {"Date": None} if plot_format == "svg" else {"Software": None}
        figure.savefig(buffer, format=plot_format, dpi=options.dpi, metadata=undated)
    return buffer.getvalue()


def draw_loss(axes: Axes, given: PlotInput) -> None:
    """The loss before each update over the steps."""
    step, loss = _thin(given.history["step"], given.history["loss"])
    axes.plot(step, loss, label="training loss", linewidth=1.5)
    positive = loss[loss > 0]
    if len(positive) == len(loss) > 0 and positive.max() / positive.min() > _LOG_FROM_RATIO:
        axes.set_yscale("log")
    axes.set_xlabel("step")
    axes.set_ylabel(f"{given.spec['loss']['kind']} loss")
    axes.set_title(f"Loss ({given.stop_reason})")
    axes.grid(visible=True, alpha=0.3)
    axes.legend()


def draw_fit(axes: Axes, given: PlotInput) -> None:
    """The data, the line at the initial weights and the fitted line."""
    feature, target = _name(given.spec["features"][0]), _name(given.spec["target"])
    x, y = _thin(given.x, given.y)
    axes.scatter(x, y, s=14, alpha=0.6, label="data", color="tab:blue")
    ends = np.array([given.x.min(), given.x.max()])
    for weights, label, look in (
        (given.initial_weights, "initial", {"linestyle": "--", "color": "tab:gray"}),
        (given.weights, "fitted", {"color": "tab:red", "linewidth": 2}),
    ):
        slope = float(weights["weight"][0, 0])
        bias = float(weights["bias"][0]) if "bias" in weights else 0.0
        axes.plot(
            ends, bias + slope * ends, label=f"{label}: {_line(bias, slope, feature)}", **look
        )
    axes.set_xlabel(feature)
    axes.set_ylabel(target)
    axes.set_title("Data and fitted line")
    axes.grid(visible=True, alpha=0.3)
    axes.legend()


def _line(bias: float, slope: float, feature: str) -> str:
    sign = "+" if slope >= 0 else "−"
    return f"{bias:.4g} {sign} {abs(slope):.4g}·{feature}"


def _name(name: str) -> str:
    """A column's name without the control characters that neither fonts nor SVG can hold."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)


def _thin(*arrays: NDArray[Any]) -> tuple[NDArray[Any], ...]:
    n = len(arrays[0])
    if n <= MOST_DRAWN_POINTS:
        return arrays
    kept = np.linspace(0, n - 1, MOST_DRAWN_POINTS).round().astype(np.int64)
    return tuple(array[kept] for array in arrays)


# One entry a kind; `service.plots.plot_kinds` says which fits it suits.
PLOTS: dict[str, Callable[[Axes, PlotInput], None]] = {"loss": draw_loss, "fit": draw_fit}

DRAWN_WITH_DATA = frozenset({"fit"})
