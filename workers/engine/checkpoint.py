"""A fit that is under way, written down, and taken up again to the bit."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np

from workers.engine.descent import Descent
from workers.engine.named_parts import Arrays, joined, part
from workers.engine.trajectory import TrajectoryWriter

_N_STEPS, _SECONDS = "n_steps", "seconds"


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A fit after `n_steps` updates that took so many `seconds`.

    `parts` are what its descent, its trace and its trajectory have kept, as named arrays: they mean
    something to the same specification on the same rows alone, on the same kind of machine.
    """

    n_steps: int
    seconds: float
    parts: Mapping[str, Arrays]

    @classmethod
    def of(cls, descent: Descent, trajectory: TrajectoryWriter, seconds: float) -> Self | None:
        """Where the fit is now; None while its rows are still read."""
        kept = descent.kept()
        if kept is None:
            return None
        parts = {"descent": kept, "trace": descent.trace.kept(), "trajectory": trajectory.kept()}
        return cls(descent.n_steps, seconds, parts)

    def put(self, descent: Descent, trajectory: TrajectoryWriter) -> None:
        """Bring a fit that has just begun to where this one was; its rows must be read."""
        # The trace first: a descent may note where that is.
        descent.trace.take_up(self.parts["trace"])
        descent.take_up(self.parts["descent"], self.n_steps)
        trajectory.take_up(self.parts["trajectory"])

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The checkpoint as named arrays, without loss."""
        return {
            **joined(self.parts),
            _N_STEPS: np.array([self.n_steps]),
            _SECONDS: np.array([self.seconds]),
        }

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """The checkpoint of `to_arrays`."""
        names = ("descent", "trace", "trajectory")
        parts = {name: part(arrays, name) for name in names}
        return cls(int(arrays[_N_STEPS][0]), float(arrays[_SECONDS][0]), parts)


class Checkpoints(Protocol):
    """Where a fit's checkpoints go, and `last`, which it goes on from."""

    last: Checkpoint | None

    def is_due(self) -> bool:
        """Whether it is time for another one; asked every few milliseconds."""

    def write(self, checkpoint: Checkpoint) -> None:
        """Keep this one instead of the last."""
