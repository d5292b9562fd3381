"""One picture on demand: draw it, keep it."""

from typing import Any

import numpy as np

from service.artifacts import load_arrays
from service.context import Context
from service.fits import fit_row
from service.plots import Plot
from service.schemas.plots import PlotFormat, PlotOptions
from workers.engine import Scaling
from workers.inputs import sample_columns
from workers.plots import DRAWN_WITH_DATA, MOST_DRAWN_POINTS, PLOTS, PlotInput, render


def draw_plot(
    context: Context, *, fit_id: str, kind: str, plot_format: PlotFormat, options: dict[str, Any]
) -> dict[str, Any]:
    """Draw the picture and put it into the object store, for whoever asks next as well."""
    plot = Plot(kind, plot_format, PlotOptions.model_validate(options))
    picture = render(PLOTS[kind], _load(context, fit_id, kind), plot_format, plot.options)
    context.storage.put(plot.key(fit_id), picture)
    return {}


def _load(context: Context, fit_id: str, kind: str) -> PlotInput:
    fit = fit_row(context, fit_id)
    spec = fit["spec"]
    history, weights, initial_weights = (
        load_arrays(context, fit_id, name) for name in ("history", "weights", "initial_weights")
    )
    scaling = (fit["result"] or {}).get("standardization")
    if scaling is not None and "weight" in weights:
        # A line is drawn in the data's own units.
        own = Scaling(np.array(scaling["mean"]), np.array(scaling["std"]))
        weights, initial_weights = map(own.in_own_units, (weights, initial_weights))
    x = y = np.empty(0)
    if kind in DRAWN_WITH_DATA:
        names = [spec["features"][0], spec["target"]]
        x, y = sample_columns(context, fit["storage_key"], names, MOST_DRAWN_POINTS)
    return PlotInput(
        spec=spec,
        stop_reason=fit["stop_reason"],
        history=history,
        weights=weights,
        initial_weights=initial_weights,
        x=x,
        y=y,
    )
