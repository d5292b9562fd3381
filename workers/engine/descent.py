"""What every strategy is to the loop that drives it."""

from typing import Protocol

from workers.engine.dtypes import Weights
from workers.engine.named_parts import Arrays
from workers.engine.results import Status
from workers.engine.snapshot import Snapshot
from workers.engine.trace import Trace


class Descent(Protocol):
    """A fit under way: its weights and its optimizer's state, moved on by some steps at a time.

    However the steps are cut into calls of `advance`, the bits are the same. `chunk_steps` steps
    take some milliseconds. A call may make fewer steps than it was asked for, none even, where rows
    are read first that are not in memory. After a `failed_step` the weights are the last finite
    ones; an `end` says why there are no more steps to make. Either way there is nothing left to
    advance.
    """

    trace: Trace
    n_steps: int
    failed_step: int | None
    end: Status | None
    n_threads: int
    chunk_steps: int

    def advance(self, n_steps: int) -> None:
        """Make so many updates, or fewer where one fails or rows are still to be read."""

    def settle(self) -> None:
        """After the last step: go back to the best weights, where the specification says so."""

    def weights(self) -> Weights:
        """Copies of the weights, in the fit's dtype, by their state_dict names."""

    def gradients(self) -> Weights:
        """Copies of the last update's gradient, before clipping, by the parameters' names."""

    def snapshot(self) -> Snapshot:
        """What another fit needs to go on from the last update, to the bit."""

    def kept(self) -> Arrays | None:
        """Copies of all that `advance` changes, but for the trace.

        None while rows are read, or where an epoch's end was interrupted.
        """

    def take_up(self, kept: Arrays, n_steps: int) -> None:
        """Right after the beginning, go to where the same fit kept this, after so many updates."""

    def final_loss(self) -> float:
        """The loss over the whole training set at `weights()`; it may be infinite or nan."""
