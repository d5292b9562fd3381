"""The picture of a learning-rate range test: drawn and kept as a fit's are."""

from typing import Any

from service.context import Context
from service.errors import PlotNotApplicable
from service.fits import get_fit
from service.kinds import LR_RANGE_TEST
from service.plots import Plot, drawn
from service.schemas.common import TERMINAL


def range_plot_kinds(test: dict[str, Any]) -> list[str]:
    """`lr` once the test has ended with a curve."""
    ended = test["status"] in TERMINAL and test["result"] is not None
    return ["lr"] if ended and test["result"]["lr"] else []


def get_range_plot(context: Context, test_id: str, plot: Plot, owner: str) -> bytes:
    """The picture's bytes; raises what `service.plots.get_plot` does."""
    kinds = range_plot_kinds(get_fit(context, test_id, owner, LR_RANGE_TEST))
    if plot.kind not in kinds:
        listed = ", ".join(kinds) or "none yet"
        detail = f"the range test {test_id} has no plot {plot.kind!r}; it has: {listed}"
        raise PlotNotApplicable(detail)
    return drawn(context, "lr_plot", test_id, plot)
