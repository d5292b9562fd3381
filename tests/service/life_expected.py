"""What fits are expected to be after each step of their life."""

from collections.abc import Sequence
from types import SimpleNamespace

from service.lifecycle import Claim, End
from service.queue import FITS_CPU
from tests.service.life_parts import Fit

LEASE_SECONDS = 10.0
MAX_ATTEMPTS = 3
ENDED = ("succeeded", "failed", "cancelled")


class Expected:
    """Fits by their ids, and batches' members; each step that others take has its method here."""

    def __init__(self, clock: SimpleNamespace) -> None:
        self.clock = clock
        self.fits: dict[str, Fit] = {}
        self.batches: dict[str, list[Fit]] = {}

    @property
    def n_unended(self) -> int:
        """How many fits wait or run."""
        return sum(fit.status not in ENDED for fit in self.fits.values())

    @property
    def waiting(self) -> list[Fit]:
        """The fits that wait, those that are claimed first in front."""
        waiting = [fit for fit in self.fits.values() if fit.status == "queued"]
        return sorted(waiting, key=lambda fit: (fit.created_at, fit.id))

    def holds(self, claim: Claim) -> bool:
        """Whether the claim is not lost."""
        fit = self.fits[claim.fit_id]
        return fit.held and fit.fence == claim.fence

    def next_of(self, queue: str) -> list[Fit]:
        """What a claim takes."""
        waiting = [fit for fit in self.waiting if fit.queue == queue]
        if queue == FITS_CPU or not waiting or waiting[0].alone:
            return waiting[:1]
        n = next((i for i, fit in enumerate(waiting) if fit.alone), len(waiting))
        return waiting[:n]

    def claimed(self, chosen: Sequence[Fit], worker: str) -> None:
        """A worker took them."""
        for fit in chosen:
            fit.status, fit.worker, fit.fence = "running", worker, fit.fence + 1
            fit.lease, fit.grouped = self.clock.now + LEASE_SECONDS, len(chosen) > 1

    def ended(self, fit: Fit, end: End) -> None:
        """Its worker told its end."""
        fit.release("cancelled" if fit.status == "cancelling" else end.status)
        fit.result = end.result
        fit.error = None if end.error is None else end.error["code"]

    def cancelled(self, fit: Fit) -> None:
        """Its client wants no more of it."""
        if fit.status == "queued":
            fit.release("cancelled")
        elif fit.status == "running":
            fit.status = "cancelling"

    def swept(self) -> None:
        """Leases that are over are taken back."""
        latest = self.clock.now + LEASE_SECONDS + 60
        for fit in self.fits.values():
            if fit.lease is None or self.clock.now <= fit.lease <= latest:
                continue
            if fit.status == "cancelling":
                fit.release("cancelled")
                fit.error = None
            elif fit.grouped:
                fit.alone, fit.error = True, None
                fit.release("queued")
            elif fit.attempt < MAX_ATTEMPTS:
                fit.attempt, fit.error = fit.attempt + 1, None
                fit.release("queued")
            else:
                fit.release("failed")
                fit.error = fit.error or "worker_lost"
