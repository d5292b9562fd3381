"""What the runs of every kind of job have in common."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from service.events import Told
from service.lifecycle import Claim, Outcome
from workers.draining import draining
from workers.engine import EpochLosses, Interrupted, Progress
from workers.heartbeat import Heartbeat
from workers.measuring import finite
from workers.memory_bound import MemoryBound
from workers.recording import Arrays, progress_of
from workers.telling import Pace


@dataclass(frozen=True)
class Ending:
    """How a job ended: what its row keeps, and the artifacts beside it by their names."""

    status: Outcome
    stop_reason: str
    result: dict[str, Any]
    compute_seconds: float
    error: dict[str, Any] | None = None
    artifacts: Mapping[str, Arrays] = field(default_factory=dict)


class Watch:
    """The engine's view of the world: whether to stop, and where progress is shown."""

    def __init__(self, heartbeat: Heartbeat, claim: Claim, bound: MemoryBound) -> None:
        self.heartbeat = heartbeat
        self._claim = claim
        self._bound = bound
        self._began = time.monotonic()
        self._pace = Pace()
        self._told_epoch = -1

    def should_stop(self) -> bool:
        """Whether the job is to end here, or to go on elsewhere; raises TooMuchMemory."""
        self._bound.look()
        heartbeat, claim = self.heartbeat, self._claim
        return heartbeat.lost(claim) or heartbeat.cancelled(claim) or draining()

    def look(self) -> None:
        """Raise Interrupted where the job is to stop here."""
        if self.should_stop():
            raise Interrupted

    def look_at_the_end(self) -> None:
        """The same when all steps are made: then the job goes on, though its worker is to stop."""
        self.look_at_memory()
        if self.heartbeat.lost(self._claim) or self.heartbeat.cancelled(self._claim):
            raise Interrupted

    def look_at_memory(self) -> None:
        """Raise TooMuchMemory past the job's bound."""
        self._bound.look()

    def check_memory(self) -> None:
        """The same, however short ago it was looked at."""
        self._bound.check()

    def show(self, progress: Progress) -> None:
        """Let the next beat of the heart show the progress, and tell whoever listens."""
        elapsed_seconds = time.monotonic() - self._began
        shown = progress_of(progress, elapsed_seconds)
        self.heartbeat.progress[self._claim.fit_id] = shown
        if self._pace.allows(elapsed_seconds):
            epoch = self._epoch_over(progress.last_epoch)
            self.heartbeat.tell(self._claim, [*epoch, ("progress", shown)])

    def _epoch_over(self, last: EpochLosses | None) -> list[Told]:
        """The event of the last epoch that is over, once an epoch."""
        if last is None or last.epoch == self._told_epoch:
            return []
        self._told_epoch = last.epoch
        losses = {
            "train_loss": finite(last.train_loss),
            "validation_loss": finite(last.validation_loss),
        }
        return [("epoch", {"epoch": last.epoch, **losses})]
