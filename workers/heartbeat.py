"""The thread that keeps a claim while its fit is computed."""

import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import structlog

from service.context import Context
from service.lifecycle import Claim, renew

log = structlog.get_logger(__name__)

_MOST_SECONDS = 1.0


class Heartbeat:
    """Renews the lease while the `with` block runs, and shows the newest progress.

    `lost` says that the claim is another's by now: whatever is computed on is worth nothing;
    `cancelled` that the fit is to end with what it has.
    """

    def __init__(self, context: Context, claim: Claim) -> None:
        self._context = context
        self._claim = claim
        self._stopped = threading.Event()
        self._lost = threading.Event()
        self._cancelled = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self.progress: Mapping[str, Any] | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopped.set()
        self._thread.join()

    @property
    def lost(self) -> bool:
        """Whether the claim has been taken back."""
        return self._lost.is_set()

    @property
    def cancelled(self) -> bool:
        """Whether the fit's client has asked for its end."""
        return self._cancelled.is_set()

    def _beat(self) -> None:
        every_seconds = min(_MOST_SECONDS, self._context.settings.lease_seconds / 3)
        while not self._stopped.wait(every_seconds):
            try:
                status = renew(self._context, self._claim, self.progress)
            except Exception:
                # The edge of this thread: the next beat tries again while the lease lasts.
                log.exception("heartbeat_failed", fit_id=self._claim.fit_id)
                continue
            if status is None:
                self._lost.set()
                return
            if status == "cancelling":
                self._cancelled.set()
