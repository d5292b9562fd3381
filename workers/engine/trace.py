"""The history of a fit while it is written."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.engine.batches import Batches
from workers.engine.dtypes import Weights
from workers.engine.named_parts import Arrays
from workers.engine.results import History
from workers.engine.snapshot import NormalState, ScheduleState, Snapshot, SpectralState


class Trace:
    """Room for a whole fit's history, filled from step 0 on.

    `loss`, `grad_norm` and `lr` (m,) float64 hold every `every`-th step. `epoch_sums` (e,) float64
    sums an epoch's losses, each times its batch's size over `batches.size`, so that the mean of an
    epoch of equal batches is not rounded twice; `validation_loss` (e,) is nan but where rows are
    held out. `n_losses` counts the steps entered. An epoch that an earlier fit began is one epoch:
    its sum goes on from the snapshot's.
    """

    def __init__(
        self, batches: Batches, every: int, lr: float, snapshot: Snapshot | None = None
    ) -> None:
        n_recorded = -(-batches.total_steps // every)
        self.batches = batches
        self.every = every
        self.loss = np.empty(n_recorded)
        self.grad_norm = np.empty(n_recorded)
        # What a strategy that has no schedule leaves as it is.
        self.lr = np.full(n_recorded, lr)
        self.epoch_sums = np.zeros(batches.n_epochs)
        if snapshot is not None and not batches.ends_epoch(0):
            self.epoch_sums[0] = snapshot.epoch_sum
        self.validation_loss = np.full(batches.n_epochs, np.nan)
        self.n_losses = 0
        self.last_loss = np.nan
        self.last_lr = lr

    def add(self, loss: float, grad_norm: float, lr: float) -> None:
        """Enter the next step."""
        step = self.n_losses
        first, stop = self.batches.bounds(step)
        epoch = self.batches.epoch_of(step)
        self.epoch_sums[epoch] += loss * (stop - first) / self.batches.size
        if step % self.every == 0:
            self.loss[step // self.every] = loss
            self.grad_norm[step // self.every] = grad_norm
            self.lr[step // self.every] = lr
        self.n_losses += 1
        self.last_loss = loss
        self.last_lr = lr

    def rewind(self, n_losses: int, unfinished_sum: float) -> None:
        """Go back to when so many steps were entered and `unfinished_sum` was this."""
        self.n_losses = n_losses
        epoch = self.batches.epoch_of(n_losses)
        self.epoch_sums[epoch:] = 0.0
        self.validation_loss[epoch:] = np.nan
        if epoch < len(self.epoch_sums):
            self.epoch_sums[epoch] = unfinished_sum

    def kept(self) -> dict[str, NDArray[np.float64]]:
        """Copies of all that was entered."""
        n_kept = -(-self.n_losses // self.every)
        n_epochs = min(self.batches.epoch_of(self.n_losses) + 1, len(self.epoch_sums))
        return {
            "loss": self.loss[:n_kept].copy(),
            "grad_norm": self.grad_norm[:n_kept].copy(),
            "lr": self.lr[:n_kept].copy(),
            "epoch_sums": self.epoch_sums[:n_epochs].copy(),
            "validation_loss": self.validation_loss[:n_epochs].copy(),
            "last": np.array([self.n_losses, self.last_loss, self.last_lr]),
        }

    def take_up(self, kept: Arrays) -> None:
        """Enter what another trace of the same fit has kept."""
        for name in ("loss", "grad_norm", "lr", "epoch_sums", "validation_loss"):
            getattr(self, name)[: len(kept[name])] = kept[name]
        n_losses, self.last_loss, self.last_lr = (float(value) for value in kept["last"])
        self.n_losses = int(n_losses)

    def snapshot(
        self,
        n_steps: int,
        *,
        made_by: Mapping[str, Any],
        weights: Weights,
        optimizer: list[dict[str, Any]],
        schedule: ScheduleState | None,
        spectral: SpectralState | None = None,
        normal: NormalState | None = None,
    ) -> Snapshot:
        """What another fit needs to go on after so many steps of this one."""
        return Snapshot(
            position=self.batches.position + n_steps,
            per_epoch=self.batches.per_epoch,
            epoch_sum=self.unfinished_sum(),
            weights=weights,
            made_by=made_by,
            optimizer=optimizer,
            schedule=schedule,
            spectral=spectral,
            normal=normal,
        )

    def unfinished_sum(self) -> float:
        """The sum of the epoch that goes on after the last step entered; 0 where none does."""
        if self.batches.ends_epoch(self.n_losses):
            return 0.0
        return float(self.epoch_sums[self.batches.epoch_of(self.n_losses)])

    def epoch_loss(self, epoch: int) -> float:
        """The mean over the epoch's batches so far, weighted by their sizes."""
        return float(self.epoch_sums[epoch] / self._batches_in(np.array([epoch]))[0])

    def history(self) -> History:
        """The history up to the last step entered."""
        batches = self.batches
        step = np.arange(0, self.n_losses, self.every)
        epochs = np.arange(batches.epoch_of(self.n_losses - 1) + 1 if self.n_losses else 0)
        epoch = step
        if batches.per_epoch > 1:
            epoch = (batches.position + step) // batches.per_epoch - batches.shuffle_of(0)
        return History(
            step=step,
            epoch=epoch,
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
        if batches.per_epoch == 1:
            return np.ones(len(epochs))
        begin = (batches.shuffle_of(0) + epochs) * batches.per_epoch
        n_batches = np.minimum(batches.position + self.n_losses - begin, batches.per_epoch)
        n_rows = np.minimum(n_batches * batches.size, batches.n_rows)
        shares: NDArray[np.float64] = n_rows / batches.size
        return shares
