"""The housekeeping thread of a worker's main process."""

import threading
import time

import structlog

from service.context import Context
from service.lifecycle import sweep
from service.queue import keep_announced, retire_worker
from service.retention import forget_expired

log = structlog.get_logger(__name__)


class Keeper:
    """Sweeps, and keeps the worker announced, every `THALWEG_SWEEP_SECONDS`."""

    def __init__(self, context: Context, worker: str) -> None:
        self._context = context
        self._worker = worker
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="keeper", daemon=True)
        self._announced = False

    def start(self) -> None:
        """Begin; the first sweep comes at once."""
        self._thread.start()

    def stop(self) -> None:
        """End after the sweep that is under way."""
        self._stopped.set()
        self._thread.join(timeout=10)
        retire_worker(self._context.events.client, self._worker)

    def _keep(self) -> None:
        while True:
            self._round()
            if self._stopped.wait(self._context.settings.sweep_seconds):
                return

    def _round(self) -> None:
        """One round; whatever fails in it is tried again in the next one."""
        try:
            self._announced = keep_announced(
                self._context.events.client, self._worker, known=self._announced
            )
            sweep(self._context, time.time())
            forget_expired(self._context, time.time())
        except Exception:
            # The edge of this thread: a database or a redis that is away must not end it.
            log.exception("sweep_failed")
