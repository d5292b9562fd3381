"""The loop around every descent: it advances by chunks until there is an end."""

from collections.abc import Callable
from functools import partial

from workers.engine.checkpoint import Checkpoint, Checkpoints
from workers.engine.descent import Descent
from workers.engine.interrupting import Cut, Interrupted, looking
from workers.engine.reporting import Clock, OnProgress, Reporter
from workers.engine.results import Status
from workers.engine.trajectory import TrajectoryWriter


class Course:
    """What looks at a fit while it is under way; its time counts from here.

    The seconds that a checkpoint has behind it count too. See `workers.engine.fitting.fit`.
    """

    def __init__(
        self,
        max_seconds: float,
        on_progress: OnProgress | None,
        should_stop: Callable[[], bool] | None,
        checkpoints: Checkpoints | None,
        clock: Clock,
    ) -> None:
        self._checkpoints = checkpoints
        self._last = None if checkpoints is None else checkpoints.last
        self._began = clock() - (self._last.seconds if self._last else 0.0)
        self._deadline = self._began + max_seconds
        self._should_stop = should_stop
        self._on_progress = on_progress
        self._clock = clock

    def seconds(self) -> float:
        """How long the fit has taken."""
        return self._clock() - self._began

    def run(self, descent: Descent, trajectory: TrajectoryWriter) -> Status:
        """Go on to the end from the last checkpoint, or else from the beginning."""
        if not self.take_up(descent, trajectory):
            return "interrupted"
        total_steps = descent.trace.batches.total_steps
        reporter = Reporter(self._on_progress, descent.trace.batches, self._clock)
        advance = partial(trajectory.advance, descent) if trajectory.writes else descent.advance
        while descent.n_steps < total_steps:
            end = self.end_before(descent, trajectory)
            if end is not None:
                return end
            n_steps = min(descent.chunk_steps, total_steps - descent.n_steps)
            cut = self.cut_while(descent, trajectory, partial(advance, n_steps))
            if descent.failed_step is not None:
                return "diverged"
            if descent.end is not None:
                return descent.end
            if cut is not None:
                return cut
            reporter.report(descent)
            self.keep(descent, trajectory)
        return "completed"

    def take_up(self, descent: Descent, trajectory: TrajectoryWriter) -> bool:
        """Go to where the fit was; False where it is to stop before its rows are read again."""
        if self._last is None:
            return True
        try:
            # Where the time is over, the end is where the fit was, not where it began.
            with looking(self.look_for_stop):
                while descent.kept() is None:
                    self.look_for_stop()
                    descent.advance(0)
        except Interrupted:
            return False
        self._last.put(descent, trajectory)
        return True

    def cut_while(
        self, descent: Descent, trajectory: TrajectoryWriter, advance: Callable[[], None]
    ) -> Cut | None:
        """Advance; why that was cut short, between two whole steps, if it was."""
        try:
            with looking(self.look):
                advance()
        except Interrupted as cut:
            if cut.status == "interrupted" and descent.failed_step is None:
                self.keep(descent, trajectory)
            return cut.status
        return None

    def look(self) -> None:
        """Raise Interrupted where the fit is to stop, or its time is over."""
        self.look_for_stop()
        if self._clock() >= self._deadline:
            raise Interrupted("time_limit")

    def look_for_stop(self) -> None:
        """Raise Interrupted where the fit is to stop."""
        if self._should_stop is not None and self._should_stop():
            raise Interrupted

    def end_before(self, descent: Descent, trajectory: TrajectoryWriter) -> Cut | None:
        """Why there is no next step, if whoever looks on says so, or the time is over."""
        return self.cut_while(descent, trajectory, self.look)

    def keep(self, descent: Descent, trajectory: TrajectoryWriter) -> None:
        """Write a checkpoint, if it is time for one."""
        if self._checkpoints is None or not self._checkpoints.is_due():
            return
        checkpoint = Checkpoint.of(descent, trajectory, self.seconds())
        if checkpoint is not None:
            self._checkpoints.write(checkpoint)
