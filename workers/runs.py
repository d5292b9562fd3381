"""What the runs of every kind of job have in common."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from service.lifecycle import Claim, Outcome
from workers.draining import draining
from workers.engine import Progress
from workers.heartbeat import Heartbeat
from workers.recording import Arrays, progress_of


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

    def __init__(self, heartbeat: Heartbeat, claim: Claim) -> None:
        self._heartbeat = heartbeat
        self._claim = claim
        self._began = time.monotonic()

    def should_stop(self) -> bool:
        """Whether the job is to end here, or to go on elsewhere."""
        heartbeat, claim = self._heartbeat, self._claim
        return heartbeat.lost(claim) or heartbeat.cancelled(claim) or draining()

    def show(self, progress: Progress) -> None:
        """Let the next beat of the heart show the progress."""
        shown = progress_of(progress, time.monotonic() - self._began)
        self._heartbeat.progress[self._claim.fit_id] = shown
