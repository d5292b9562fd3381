"""The picture of a range test on demand: draw it, keep it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from service.context import Context
from service.errors import Gone
from service.fits import fit_row
from service.plots import Plot
from service.schemas.plots import PlotFormat, PlotOptions
from workers.lr_plot import draw_lr
from workers.plots import render


def draw_lr_plot(
    context: Context, *, fit_id: str, kind: str, plot_format: PlotFormat, options: dict[str, Any]
) -> dict[str, Any]:
    """Draw the picture and put it into the object store, for whoever asks next as well."""
    plot = Plot(kind, plot_format, PlotOptions.model_validate(options))
    picture = render(_draw, _curve(context, fit_id), plot_format, plot.options)
    context.storage.put(plot.key(fit_id), picture)
    return {}


def _curve(context: Context, fit_id: str) -> Mapping[str, Any]:
    row = fit_row(context, fit_id)
    if row["result"] is None:
        raise Gone(f"the curve of {fit_id} is no longer kept")
    return {**row["result"], "step_mode": row["spec"]["step_mode"]}


def _draw(axes: Axes, curve: Mapping[str, Any]) -> None:
    lr, loss, raw_loss = (np.array(curve[name]) for name in ("lr", "loss", "raw_loss"))
    is_logarithmic = curve["step_mode"] == "exp"
    draw_lr(axes, lr, loss, raw_loss, curve["suggestion"], is_logarithmic=is_logarithmic)
