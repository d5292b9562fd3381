"""The weights, and the gradients, at every recorded step."""

import numpy as np

from workers.engine.descent import Descent
from workers.engine.dtypes import Weights
from workers.engine.named_parts import Arrays, joined, part
from workers.engine.results import Trajectory
from workers.engine.specification import Record


class TrajectoryWriter:
    """Looks at a descent before, and after, every step that the history keeps."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._weights: list[Weights] = []
        self._gradients: list[Weights] = []

    @property
    def writes(self) -> bool:
        """Whether there is anything to look at."""
        return self._record.weights or self._record.gradients

    def advance(self, descent: Descent, n_steps: int) -> None:
        """Make so many updates, or fewer where one fails, the fit ends or rows are to be read."""
        stop, before = descent.n_steps + n_steps, -1
        while before < descent.n_steps < stop and descent.end is None:
            before = descent.n_steps
            past = before % self._record.every
            if past:
                descent.advance(min(self._record.every - past, stop - before))
            else:
                self._look(descent)

    def _look(self, descent: Descent) -> None:
        before = descent.weights() if self._record.weights else {}
        n_losses = descent.trace.n_losses
        try:
            descent.advance(1)
        finally:
            # An epoch's end may be interrupted after a whole step.
            if descent.trace.n_losses > n_losses:
                self._weights.append(before)
                if self._record.gradients:
                    self._gradients.append(descent.gradients())

    def kept(self) -> Arrays:
        """What was seen so far."""
        return joined({"weights": _stacked(self._weights), "gradients": _stacked(self._gradients)})

    def take_up(self, kept: Arrays) -> None:
        """Go on after what another writer of the same fit has seen."""
        self._weights = _unstacked(part(kept, "weights"))
        self._gradients = _unstacked(part(kept, "gradients"))

    def result(self, descent: Descent) -> Trajectory | None:
        """What was seen; None where nothing was asked for."""
        if not self.writes:
            return None
        return Trajectory(
            step=descent.trace.history().step,
            weights=_stacked(self._weights),
            gradients=_stacked(self._gradients),
        )


def _unstacked(stacked: Weights) -> list[Weights]:
    n_seen = max((len(array) for array in stacked.values()), default=0)
    return [{name: array[i] for name, array in stacked.items()} for i in range(n_seen)]


def _stacked(seen: list[Weights]) -> Weights:
    names = seen[0] if seen else ()
    return {name: np.stack([one[name] for one in seen]) for name in names}
