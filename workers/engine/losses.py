"""The losses: means over samples, by torch.nn's names and definitions."""

from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True, slots=True)
class Mse:
    """The mean of (y - ŷ)², without a half, as torch.nn.MSELoss."""

    def mean(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The mean over the samples, and over each one's targets: a scalar."""
        return nn.functional.mse_loss(prediction, target)

    def of_samples(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Each sample's loss, (m,): the mean over its targets."""
        return nn.functional.mse_loss(prediction, target, reduction="none").mean(dim=1)


Loss = Mse

LOSSES: dict[str, type[Loss]] = {"mse": Mse}
