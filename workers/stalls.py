"""Whether a worker takes messages: Celery's consumer may stay idle after a lost connection."""

import time
from collections.abc import Callable, Sequence

import structlog

from service.context import Context
from service.lifecycle import holds_any

log = structlog.get_logger(__name__)

# What waits for a request is done sooner; what a child holds a lease of may take for ever.
_STALLED_SECONDS = 30.0


class Stalls:
    """Looks whether messages of the `queues` wait while nothing is taken and nothing is held.

    `taken` counts the messages that children have begun. `stop` is called where a worker takes
    none any more: whoever watches it starts another one.
    """

    def __init__(
        self,
        context: Context,
        queues: Sequence[str],
        taken: Callable[[], int],
        stop: Callable[[], None],
    ) -> None:
        self._context = context
        self._queues = queues
        self._taken = taken
        self._stop = stop
        # Nothing is known before the first look.
        self._n_taken = -1
        self._since = 0.0

    def look(self, children: Sequence[str], *, any_ready: bool = True) -> None:
        """Look now; `children` are the names under which the worker's children hold leases.

        While none of them is ready to compute, what waits for one is no stall.
        """
        n_taken = self._taken()
        waits = any(self._context.queue.undelivered(queue) for queue in self._queues)
        moves = not waits or not any_ready or n_taken != self._n_taken
        if moves or holds_any(self._context, children):
            self._n_taken, self._since = n_taken, time.monotonic()
        elif time.monotonic() - self._since > _STALLED_SECONDS:
            log.error("worker_takes_nothing", queues=[*self._queues])
            self._stop()
