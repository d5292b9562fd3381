"""How the training rows are cut into batches, and the batches into epochs."""

from dataclasses import dataclass

from workers.engine.errors import SpecificationError
from workers.engine.schedules import Interval
from workers.engine.snapshot import Snapshot
from workers.engine.specification import Specification


@dataclass(frozen=True, slots=True)
class Batches:
    """The batches of a whole fit.

    A step's batch is a slice of its epoch's row order; `size` is that of every batch but perhaps
    an epoch's last. `shuffled` says that each epoch has an order of its own. Step 0 comes after
    `position` updates of earlier fits, which may have ended within an epoch; epochs are counted
    from the one that it belongs to.
    """

    n_rows: int
    size: int
    per_epoch: int
    total_steps: int
    shuffled: bool
    position: int = 0

    @property
    def n_epochs(self) -> int:
        """The epochs that the fit begins."""
        return self.epoch_of(self.total_steps - 1) + 1

    def n_moves(self, interval: Interval) -> int:
        """How often a schedule moves in the whole fit: after each step, or each whole epoch."""
        return self.total_steps if interval == "step" else self.epoch_of(self.total_steps)

    def bounds(self, step: int) -> tuple[int, int]:
        """Where the step's batch begins and ends in its epoch's order."""
        first = (self.position + step) % self.per_epoch * self.size
        return first, min(first + self.size, self.n_rows)

    def shuffle_of(self, step: int) -> int:
        """The epoch, counted over all fits, whose order the step's batch is cut from."""
        return (self.position + step) // self.per_epoch

    def epoch_of(self, step: int) -> int:
        """The fit's epoch to which the step belongs."""
        return self.shuffle_of(step) - self.shuffle_of(0)

    def steps_within(self, most_work: int, step_work: int, look_work: float) -> int:
        """The steps that take about so much work, with that of a look at each epoch's end.

        At least one step; where looks are much of the work, a whole number of epochs.
        """
        n_steps = max(1, most_work // step_work)
        if look_work == 0 or n_steps < self.per_epoch:
            return n_steps
        epoch_work = self.per_epoch * step_work + look_work
        return self.per_epoch * max(1, int(most_work // epoch_work))

    def ends_epoch(self, n_steps: int) -> bool:
        """Whether an epoch is over after so many updates."""
        return (self.position + n_steps) % self.per_epoch == 0


def cut_batches(spec: Specification, n_rows: int, snapshot: Snapshot | None = None) -> Batches:
    """The batches of these rows, of a fit that goes on from the snapshot, if any.

    A batch size of all rows or more is the whole set, which no epoch permutes. Raises
    SpecificationError where `drop_last` leaves no batch.
    """
    size = n_rows if spec.batch_size is None else spec.batch_size
    if spec.drop_last and size > n_rows:
        detail = f"drop_last leaves no batch: there are {n_rows} rows"
        raise SpecificationError("/batch_size", detail)
    size = min(size, n_rows)
    per_epoch = n_rows // size if spec.drop_last else -(-n_rows // size)
    total_steps = spec.steps if spec.steps is not None else (spec.epochs or 0) * per_epoch
    return Batches(
        n_rows=n_rows,
        size=size,
        per_epoch=per_epoch,
        total_steps=total_steps,
        shuffled=spec.shuffle and size < n_rows,
        position=0 if snapshot is None else snapshot.position_for(per_epoch),
    )
