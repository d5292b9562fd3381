"""A figure that is drawn on and becomes bytes: matplotlib's Figure alone.

pyplot would keep figures alive in servers.
"""

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import matplotlib as mpl
import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from service.schemas.plots import PlotFormat, PlotOptions
from workers.engine.threads import torch_threads

Given = TypeVar("Given")

_EXCESS = 1e-3
_DECADE = 10


@contextmanager
def canvas(options: PlotOptions) -> Iterator[Figure]:
    """An empty figure in the look that is wanted, and matplotlib's settings for it."""
    style = "dark_background" if options.theme == "dark" else "default"
    # A column's name is a name, even where it looks like TeX; the salt keeps an SVG's ids the same.
    fixed = mpl.rc_context({"text.parse_math": False, "svg.hashsalt": "thalweg"})
    # A fit that diverged has numbers of any size.
    careless = np.errstate(all="ignore")
    # Thousands of small predictions would mostly wait for each other's threads.
    alone = torch_threads(1)
    with matplotlib.style.context(style), fixed, careless, alone, warnings.catch_warnings():
        # A name in a script that the font lacks is drawn with boxes rather than not at all.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        # Of a small picture with large letters little is left, but it is what was asked for.
        warnings.filterwarnings("ignore", "constrained_layout not applied")
        # Inches are rounded, and pixels cut off: without the excess some sizes would lose one.
        size = ((pixels + _EXCESS) / options.dpi for pixels in (options.width, options.height))
        yield Figure(figsize=(next(size), next(size)), dpi=options.dpi, layout="constrained")


def render(
    draw: Callable[[Axes, Given], None],
    given: Given,
    plot_format: PlotFormat,
    options: PlotOptions,
) -> bytes:
    """The picture's bytes: the same input gives the same bytes."""
    buffer = io.BytesIO()
    with canvas(options) as figure:
        draw(figure.subplots(), given)
        write_numbers_out(figure)
        undated = {"Date": None} if plot_format == "svg" else {"Software": None}
        figure.savefig(buffer, format=plot_format, dpi=options.dpi, metadata=undated)
    return buffer.getvalue()


def write_numbers_out(figure: Figure) -> None:
    """Logarithmic axes write powers of ten in TeX, which is not read: see `canvas`."""
    written = FuncFormatter(lambda value, _: f"{value:g}")
    for axes in figure.axes:
        for axis, scale in ((axes.xaxis, axes.get_xscale()), (axes.yaxis, axes.get_yscale())):
            if scale == "log":
                low, high = axis.get_view_interval()
                axis.set_major_formatter(written)
                # Within a decade there may be no power of ten to be read.
                axis.set_minor_formatter(written if high < _DECADE * low else NullFormatter())
