"""The Celery tasks: thin, each one call.

They import what they call when they are called, for the worker's main process reads this module
too and must not load torch.
"""

from typing import Any

from service.queue import DRAW_PLOT, RUN_FIT
from workers.app import app, child_context


@app.task(name=RUN_FIT)
def run_fit(fit_id: str) -> None:
    """Compute the fit, if it still waits."""
    from workers.runner import run_fit as run  # noqa: PLC0415

    run(child_context(), fit_id)


@app.task(name=DRAW_PLOT)
def draw_plot(**request: Any) -> None:
    """Draw and keep one picture, then tell who waits for it."""
    from workers.plotting import draw_plot as draw  # noqa: PLC0415

    draw(child_context(), **request)
