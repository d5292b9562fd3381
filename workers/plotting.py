"""One picture on demand: draw it, keep it."""

from typing import Any, cast

from service.context import Context
from service.plots import ANIMATION, Plot
from service.schemas.plots import AnimationFormat, PlotFormat, PlotOptions
from workers.plots import PLOTS, Subject, animate, render


def draw_plot(
    context: Context,
    *,
    fit_id: str,
    kind: str,
    plot_format: PlotFormat | AnimationFormat,
    options: dict[str, Any],
) -> dict[str, Any]:
    """Draw the picture and put it into the object store, for whoever asks next as well."""
    plot = Plot(kind, plot_format, PlotOptions.model_validate(options))
    context.storage.put(plot.key(fit_id), _draw(Subject.load(context, fit_id), plot))
    return {}


def _draw(subject: Subject, plot: Plot) -> bytes:
    if plot.kind == ANIMATION:
        return animate(subject, cast("AnimationFormat", plot.plot_format), plot.options)
    return render(PLOTS[plot.kind], subject, cast("PlotFormat", plot.plot_format), plot.options)
