"""The thread that keeps claims while their fits are computed."""

import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import structlog

from service.context import Context
from service.events import Told
from service.lifecycle import Claim, renew_all
from workers.telling import Teller

log = structlog.get_logger(__name__)

_MOST_SECONDS = 1.0


class Heartbeat:
    """Renews the leases while the `with` block runs, and shows the newest `progress` by fit.

    A claim that is `lost` is another's by now: whatever is computed on is worth nothing; one that
    is `cancelled` is to end with what it has.
    """

    def __init__(self, context: Context, claims: Sequence[Claim]) -> None:
        self._context = context
        self._claims = claims
        self._stopped = threading.Event()
        self._lost: set[str] = set()
        self._cancelled: set[str] = set()
        self._ended: set[str] = set()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._teller = Teller(context)
        self.progress: dict[str, Mapping[str, Any]] = {}

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
        self._teller.stop()
        self._thread.join()

    def lost(self, claim: Claim) -> bool:
        """Whether the claim has been taken back."""
        return claim.fit_id in self._lost

    def cancelled(self, claim: Claim) -> bool:
        """Whether the fit's client has asked for its end."""
        return claim.fit_id in self._cancelled

    def tell(self, claim: Claim, told: Sequence[Told]) -> None:
        """Tell whoever listens, while the claim is not lost."""
        if claim.fit_id not in self._lost:
            self._teller.tell(claim, told)

    def hush(self, claim: Claim) -> None:
        """Tell nothing more of this one: its end is about to be written."""
        self._teller.hush(claim.fit_id)

    def release(self, claim: Claim) -> None:
        """Renew this one no more: its end is written, or it is given back."""
        self._ended.add(claim.fit_id)
        self._teller.hush(claim.fit_id)

    def _beat(self) -> None:
        every_seconds = min(_MOST_SECONDS, self._context.settings.lease_seconds / 3)
        while not self._stopped.wait(every_seconds):
            gone = self._ended | self._lost
            held = [claim for claim in self._claims if claim.fit_id not in gone]
            if held:
                self._renew(held)

    def _renew(self, held: Sequence[Claim]) -> None:
        shown = [(claim, self.progress.get(claim.fit_id)) for claim in held]
        try:
            statuses = renew_all(self._context, shown)
        except Exception:
            # The edge of this thread: the next beat tries again while the lease lasts.
            log.exception("heartbeat_failed", fits=[claim.fit_id for claim in held])
            return
        for claim, status in zip(held, statuses, strict=True):
            if status is None and claim.fit_id not in self._ended:
                self._lost.add(claim.fit_id)
            elif status == "cancelling":
                self._cancelled.add(claim.fit_id)
