"""The Celery tasks: thin, each one call.

They import what they call when they are called, for the worker's main process reads this module
too and must not load torch.
"""

from typing import Any

from service.queue import DELIVER, RUN_ERRAND, RUN_FITS
from workers.app import app, child_context, child_courier
from workers.draining import at_work


@app.task(name=RUN_FITS)
def run_fits(queue: str) -> None:
    """See to the end what waits first in the queue."""
    from workers.runner import run_waiting  # noqa: PLC0415

    with at_work():
        run_waiting(child_context(), queue)


@app.task(name=RUN_ERRAND)
def run_errand(
    ticket: str, kind: str, arguments: dict[str, Any], caller: dict[str, Any] | None = None
) -> None:
    """Do what a request waits for, and tell it."""
    from workers.errands import run_errand as run  # noqa: PLC0415

    run(child_context(), ticket, kind, arguments, caller)


@app.task(name=DELIVER)
def deliver() -> None:
    """Have the messages delivered that are due; the task waits for no receiver."""
    child_courier().wake()
