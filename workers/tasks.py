"""The Celery tasks: thin, each one call.

They import what they call when they are called, for the worker's main process reads this module
too and must not load torch.
"""

from typing import Any

from service.queue import RUN_ERRAND, RUN_FIT
from workers.app import app, child_context


@app.task(name=RUN_FIT)
def run_fit(fit_id: str) -> None:
    """Compute the fit, if it still waits."""
    from workers.runner import run_fit as run  # noqa: PLC0415

    run(child_context(), fit_id)


@app.task(name=RUN_ERRAND)
def run_errand(ticket: str, kind: str, arguments: dict[str, Any]) -> None:
    """Do what a request waits for, and tell it."""
    from workers.errands import run_errand as run  # noqa: PLC0415

    run(child_context(), ticket, kind, arguments)
