"""The history of a fit while it is written."""

import numpy as np
from numpy.typing import NDArray

from workers.engine.batches import Batches
from workers.engine.results import History


class Trace:
    """Room for a whole fit's history, filled from step 0 on.

    `loss`, `grad_norm` and `lr` (m,) float64 hold every `every`-th step. `epoch_sums` (e,) float64
    sums an epoch's losses, each times its batch's size over `batches.size`, so that the mean of an
    epoch of equal batches is not rounded twice; `validation_loss` (e,) is nan but where rows are
    held out. `n_losses` counts the steps entered.
    """

    def __init__(self, batches: Batches, every: int, lr: float) -> None:
        n_recorded = -(-batches.total_steps // every)
        self.batches = batches
        self.every = every
        self.loss = np.empty(n_recorded)
        self.grad_norm = np.empty(n_recorded)
        # What a strategy that has no schedule leaves as it is.
        self.lr = np.full(n_recorded, lr)
        self.epoch_sums = np.zeros(batches.n_epochs)
        self.validation_loss = np.full(batches.n_epochs, np.nan)
        self.n_losses = 0
        self.last_loss = np.nan
        self.last_lr = lr

    def add(self, loss: float, grad_norm: float, lr: float) -> None:
        """Enter the next step."""
        step = self.n_losses
        first, stop = self.batches.bounds(step)
        self.epoch_sums[step // self.batches.per_epoch] += loss * (stop - first) / self.batches.size
        if step % self.every == 0:
            self.loss[step // self.every] = loss
            self.grad_norm[step // self.every] = grad_norm
            self.lr[step // self.every] = lr
        self.n_losses += 1
        self.last_loss = loss
        self.last_lr = lr

    def epoch_loss(self, epoch: int) -> float:
        """The mean over the epoch's batches so far, weighted by their sizes."""
        return float(self.epoch_sums[epoch] / self._batches_in(np.array([epoch]))[0])

    def history(self) -> History:
        """The history up to the last step entered."""
        batches = self.batches
        step = np.arange(0, self.n_losses, self.every)
        epochs = np.arange(-(-self.n_losses // batches.per_epoch))
        return History(
            step=step,
            epoch=step // batches.per_epoch,
            loss=self.loss[: len(step)],
            lr=self.lr[: len(step)],
            grad_norm=self.grad_norm[: len(step)],
            epochs_epoch=epochs,
            epochs_train_loss=self.epoch_sums[: len(epochs)] / self._batches_in(epochs),
            epochs_validation_loss=self.validation_loss[: len(epochs)],
        )

    def _batches_in(self, epochs: NDArray[np.int64]) -> NDArray[np.float64]:
        """The batches entered of each epoch, a smaller one counted as its share of a whole."""
        batches = self.batches
        n_batches = np.minimum(self.n_losses - epochs * batches.per_epoch, batches.per_epoch)
        n_rows = np.minimum(n_batches * batches.size, batches.n_rows)
        shares: NDArray[np.float64] = n_rows / batches.size
        return shares
