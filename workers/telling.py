"""Telling of jobs while they run, on a thread of its own: a slow redis holds no work up."""

import queue
import threading
from collections.abc import Sequence

import redis
import structlog

from service.context import Context
from service.events import Told
from service.lifecycle import Claim

log = structlog.get_logger(__name__)

# A day of them, with an epoch's each, is what a tale has room for.
_TOLD_AN_E_FOLD = 600
_MOST_WAITING = 100
_HUSH_SECONDS = 1.0


class Pace:
    """When a job that goes on and on tells of itself, so that its tale can be kept whole.

    In its first minutes whenever it can; later as often while its age grows e-fold as it did until
    then.
    """

    def __init__(self) -> None:
        self._next_seconds = 0.0

    def allows(self, age_seconds: float) -> bool:
        """Whether to tell now; counts as told."""
        if age_seconds < self._next_seconds:
            return False
        self._next_seconds = age_seconds * (1 + 1 / _TOLD_AN_E_FOLD)
        return True


class Teller:
    """Adds to jobs' tales in the order of `tell`; the thread begins with the first of them."""

    def __init__(self, context: Context) -> None:
        self._events = context.events
        self._waiting: queue.SimpleQueue[tuple[Claim, Sequence[Told]] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._telling = threading.Lock()
        self._hushed: set[str] = set()

    def tell(self, claim: Claim, told: Sequence[Told]) -> None:
        """Tell it soon; where redis is far behind, never."""
        if self._waiting.qsize() >= _MOST_WAITING:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._tell, name="teller", daemon=True)
            self._thread.start()
        self._waiting.put((claim, told))

    def hush(self, fit_id: str) -> None:
        """Tell nothing more of the job: its end must come last."""
        self._hushed.add(fit_id)
        if self._thread is not None and self._telling.acquire(timeout=_HUSH_SECONDS):
            self._telling.release()

    def stop(self) -> None:
        """Let the thread end."""
        if self._thread is not None:
            self._waiting.put(None)

    def _tell(self) -> None:
        while (told := self._waiting.get()) is not None:
            with self._telling:
                self._tell_one(*told)

    def _tell_one(self, claim: Claim, told: Sequence[Told]) -> None:
        if claim.fit_id in self._hushed:
            return
        try:
            self._events.tell(claim.fit_id, told, fence=claim.fence)
        except redis.RedisError as error:
            log.warning("event_failed", error=str(error), fit_id=claim.fit_id)
