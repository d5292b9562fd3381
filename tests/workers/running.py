"""A worker's turn, for the tests."""

from service.context import Context
from tests.service.claiming import FIT_QUEUES
from workers.runner import run_waiting


def run_all(context: Context) -> None:
    """See to the end what waits first in each queue."""
    for queue in FIT_QUEUES:
        run_waiting(context, queue)
