"""The curve of a learning-rate range test while it is drawn."""

import math


class Curve:
    """The points so far: the rates, and the losses before their updates, as they are and smoothed.

    As in torch-lr-finder: each loss but the first counts `smooth_f`, and the smoothed one before
    it the rest; a `smooth_f` of 0 smooths nothing.
    """

    def __init__(self, smooth_f: float, diverge_th: float) -> None:
        self._smooth_f = smooth_f
        self._diverge_th = diverge_th
        self._best = math.inf
        self.lr: list[float] = []
        self.loss: list[float] = []
        self.raw_loss: list[float] = []

    def add(self, lr: float, loss: float) -> None:
        """Enter the next point."""
        smoothed = loss
        if self.loss and self._smooth_f:
            smoothed = self._smooth_f * loss + (1 - self._smooth_f) * self.loss[-1]
        self.lr.append(lr)
        self.loss.append(smoothed)
        self.raw_loss.append(loss)
        self._best = min(self._best, smoothed)

    @property
    def has_diverged(self) -> bool:
        """Whether the last smoothed loss is more than `diverge_th` times the least one."""
        return bool(self.loss) and self.loss[-1] > self._diverge_th * self._best
