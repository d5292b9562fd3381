"""The end of a fit that gets no better."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Monitor = Literal["validation_loss", "train_loss"]


@dataclass(frozen=True, slots=True)
class EarlyStopping:
    """Stop once `patience` epochs have brought no improvement of more than `min_delta`."""

    monitor: Monitor
    patience: int
    min_delta: float
    restore_best: bool


class Patience:
    """How many epochs the monitored loss has been no better."""

    def __init__(self, rule: EarlyStopping) -> None:
        self._rule = rule
        self._best = float("inf")
        self._waited = 0

    def kept(self) -> NDArray[np.float64]:
        """(2,): the best loss, and how many epochs have been no better."""
        return np.array([self._best, self._waited])

    def take_up(self, kept: NDArray[np.float64]) -> None:
        """Go on from what another one has kept."""
        self._best, self._waited = float(kept[0]), int(kept[1])

    @property
    def keeps_the_best(self) -> bool:
        """Whether the best epoch's weights are the ones to give in the end."""
        return self._rule.restore_best

    @property
    def is_over(self) -> bool:
        """Whether it is time to stop."""
        return self._waited >= self._rule.patience

    def look(self, *, train_loss: float, validation_loss: float) -> bool:
        """Take an epoch's losses in; whether the monitored one is the best so far."""
        loss = train_loss if self._rule.monitor == "train_loss" else validation_loss
        if loss < self._best - self._rule.min_delta:
            self._best = loss
            self._waited = 0
            return True
        self._waited += 1
        return False
