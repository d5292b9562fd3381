"""Passing on how far a descent is, but not too often."""

import math
from collections.abc import Callable

from workers.engine.batches import Batches
from workers.engine.descent import Descent
from workers.engine.results import EpochLosses, Progress
from workers.engine.trace import Trace

Clock = Callable[[], float]
OnProgress = Callable[[Progress], None]

_PROGRESS_SECONDS = 0.25


class Reporter:
    """Calls `on_progress` at most four times a second; `clock` counts seconds."""

    def __init__(self, on_progress: OnProgress | None, batches: Batches, clock: Clock) -> None:
        self.clock = clock
        self._on_progress = on_progress
        self._batches = batches
        self._next = clock() + _PROGRESS_SECONDS

    def report(self, descent: Descent) -> None:
        """Call `on_progress` if the last call is long enough ago."""
        now = self.clock()
        if self._on_progress is None or now < self._next or not descent.n_steps:
            return
        self._next = now + _PROGRESS_SECONDS
        trace = descent.trace
        self._on_progress(
            Progress(
                step=descent.n_steps,
                total_steps=self._batches.total_steps,
                epoch=self._batches.epoch_of(descent.n_steps - 1),
                loss=trace.last_loss,
                lr=trace.last_lr,
                last_epoch=_last_epoch(trace, descent.n_steps),
            )
        )


def _last_epoch(trace: Trace, n_steps: int) -> EpochLosses | None:
    """The losses of the last epoch that is over; None where none is."""
    batches = trace.batches
    epoch = batches.epoch_of(n_steps - 1) - (not batches.ends_epoch(n_steps))
    if epoch < 0:
        return None
    validation_loss = float(trace.validation_loss[epoch])
    return EpochLosses(
        epoch=epoch,
        train_loss=trace.epoch_loss(epoch),
        validation_loss=None if math.isnan(validation_loss) else validation_loss,
    )
