"""The pictures of an ended fit, one module a family."""

from collections.abc import Callable, Mapping

from matplotlib.axes import Axes

from workers.plots.animation import animate
from workers.plots.boundary import draw_boundary
from workers.plots.canvas import render
from workers.plots.curves import draw_fit
from workers.plots.history import draw_loss, draw_weights
from workers.plots.residuals import draw_predicted, draw_residuals
from workers.plots.scores import draw_confusion, draw_roc
from workers.plots.subject import Subject
from workers.plots.surface import draw_surface

__all__ = ["PLOTS", "Subject", "animate", "render"]

# One entry a still kind; `service.plots` says which fits it suits.
PLOTS: Mapping[str, Callable[[Axes, Subject], None]] = {
    "loss": draw_loss,
    "fit": draw_fit,
    "residuals": draw_residuals,
    "predicted": draw_predicted,
    "surface": draw_surface,
    "boundary": draw_boundary,
    "weights": draw_weights,
    "confusion": draw_confusion,
    "roc": draw_roc,
}
