"""How the training rows are cut into batches, and the batches into epochs."""

from dataclasses import dataclass

from workers.engine.errors import SpecificationError
from workers.engine.schedules import Interval
from workers.engine.specification import Specification


@dataclass(frozen=True, slots=True)
class Batches:
    """The batches of a whole fit.

    A step's batch is a slice of its epoch's row order; `size` is that of every batch but perhaps
    an epoch's last. `shuffled` says that each epoch has an order of its own.
    """

    n_rows: int
    size: int
    per_epoch: int
    total_steps: int
    shuffled: bool

    @property
    def n_epochs(self) -> int:
        """The epochs that the fit begins."""
        return -(-self.total_steps // self.per_epoch)

    def n_moves(self, interval: Interval) -> int:
        """How often a schedule moves in the whole fit: after each step, or each whole epoch."""
        return self.total_steps if interval == "step" else self.total_steps // self.per_epoch

    def bounds(self, step: int) -> tuple[int, int]:
        """Where the step's batch begins and ends in its epoch's order."""
        first = step % self.per_epoch * self.size
        return first, min(first + self.size, self.n_rows)


def cut_batches(spec: Specification, n_rows: int) -> Batches:
    """The batches of these rows.

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
    )
