"""The housekeeping thread of a worker's main process."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

import structlog

from service.checkpoints import forget_checkpoints
from service.context import Context
from service.idempotency import forget_old
from service.lifecycle import note_lost, sweep
from service.orphans import forget_orphans
from service.queue import BROKER_ERRORS, announce_worker, retire_worker
from service.retention import forget_expired
from service.webhooks import send_due
from workers.memory_kills import RecentKills
from workers.stalls import Stalls

log = structlog.get_logger(__name__)

# How often a worker that nobody knows of yet looks whether it can compute.
_UNREADY_SECONDS = 0.1


class Keeper:
    """Sweeps, and keeps the worker announced, every `THALWEG_SWEEP_SECONDS`.

    `children` gives the names under which this worker's children hold leases: what one held that is
    gone need not wait until its lease is over. `ready` gives those of them that can compute: the
    worker is announced while there are any. `memory_kills` tells apart what the kernel has killed.
    """

    def __init__(
        self,
        context: Context,
        worker: str,
        *,
        children: Callable[[], Iterable[str]],
        ready: Callable[[], Iterable[str]],
        stalls: Stalls,
        memory_kills: RecentKills,
    ) -> None:
        self._context = context
        self._worker = worker
        self._children = children
        self._ready = ready
        self._stalls = stalls
        self._known: set[str] = set()
        self._memory_kills = memory_kills
        self._orphans_at = 0.0
        self._computes = False
        self._stopped = threading.Event()
        every_seconds = context.settings.sweep_seconds
        self._threads = [
            self._thread(
                "keeper",
                every_seconds,
                [self._announce, self._bury_children, self._sweep_rows, self._look_for_stalls],
                self._pause,
            ),
            # Apart, for an object store that is away takes its time to fail.
            self._thread(
                "tidier",
                max(every_seconds, context.storage.listing_seconds),
                [self._forget_ended, self._forget_orphans],
                self._stopped.wait,
            ),
        ]

    def start(self) -> None:
        """Begin; the first sweep comes at once."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End after the sweep that is under way."""
        self._stopped.set()
        for thread in self._threads:
            thread.join(timeout=10)
        # Where redis is away, the announcement runs out.
        with suppress(*BROKER_ERRORS):
            retire_worker(self._context.events.client, self._worker)

    def _thread(
        self,
        name: str,
        every_seconds: float,
        steps: Sequence[Callable[[], None]],
        pause: Callable[[float], bool],
    ) -> threading.Thread:
        """One that takes the steps again and again, until a pause says that it is over."""

        def keep() -> None:
            while True:
                for step in steps:
                    self._try(step)
                if pause(every_seconds):
                    return

        return threading.Thread(target=keep, name=name, daemon=True)

    def _try(self, step: Callable[[], None]) -> None:
        """Whatever fails is tried again in the next round, and hinders no other step."""
        try:
            step()
        except Exception:
            # The edge of this thread: no part of the service that is away must end it.
            log.exception("sweep_failed")

    def _pause(self, seconds: float) -> bool:
        """Wait so long, or until the worker can compute at last; whether this is to stop."""
        until = time.monotonic() + seconds
        while not self._computes and (left := until - time.monotonic()) > 0:
            if self._stopped.wait(min(left, _UNREADY_SECONDS)):
                return True
            if self._is_ready():
                return False
        return self._stopped.wait(max(0.0, until - time.monotonic()))

    def _is_ready(self) -> bool:
        try:
            return any(self._ready())
        except Exception:
            # Celery's pool may be changing just now; the step that announces logs what stays.
            log.debug("pool_not_readable", exc_info=True)
            return False

    def _announce(self) -> None:
        self._computes = any(self._ready())
        if self._computes:
            announce_worker(self._context.events.client, self._worker)

    def _bury_children(self) -> None:
        there = set(self._children())
        gone = self._known - there
        if gone:
            note_lost(self._context, sorted(gone), out_of_memory=self._memory_kills.any())
        # Only now: where that failed it is tried again.
        self._known = there
        self._memory_kills.note()

    def _sweep_rows(self) -> None:
        now = time.time()
        sweep(self._context, now)
        forget_old(self._context, now)
        send_due(self._context, now)

    def _look_for_stalls(self) -> None:
        self._stalls.look([*self._children()], any_ready=self._computes)

    def _forget_ended(self) -> None:
        forget_expired(self._context, time.time())
        forget_checkpoints(self._context)

    def _forget_orphans(self) -> None:
        """Every object is looked at, so that this has a slower pace of its own."""
        if time.monotonic() >= self._orphans_at:
            forget_orphans(self._context, time.time())
            self._orphans_at = time.monotonic() + self._context.settings.orphan_seconds
