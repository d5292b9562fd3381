"""The losses: means over samples, by torch.nn's names and definitions."""

from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True, slots=True)
class Mse:
    """The mean of (y - ŷ)², without a half, as torch.nn.MSELoss."""

    def module(self) -> nn.Module:
        """The torch module: (prediction, target) → loss."""
        return nn.MSELoss()


Loss = Mse

LOSSES: dict[str, type[Loss]] = {"mse": Mse}
