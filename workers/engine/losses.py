"""The losses: means over samples, by torch.nn's names and definitions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch.nn import functional


class Loss(Protocol):
    """A loss of predictions (m, k) against targets (m, k)."""

    def mean(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The mean over the samples, and over each one's targets: a scalar."""

    def of_samples(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Each sample's loss, (m,): the mean over its targets."""

    def counts(self, target: torch.Tensor) -> torch.Tensor | None:
        """How much each sample counts in the mean, (m,); None where all count alike."""


class _Elementwise:
    """A loss that is a mean over elements; `elements` gives each one's."""

    __slots__ = ()

    def mean(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The mean over the samples, and over each one's targets: a scalar."""
        return self.reduced(prediction, target, "mean")

    def of_samples(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Each sample's loss, (m,): the mean over its targets."""
        return self.reduced(prediction, target, "none").mean(dim=1)

    def counts(self, target: torch.Tensor) -> torch.Tensor | None:
        """All samples count alike."""
        return None

    def reduced(self, prediction: torch.Tensor, target: torch.Tensor, how: str) -> torch.Tensor:
        """The loss, as torch's `reduction` of this name gives it."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Mse(_Elementwise):
    """The mean of (y - ŷ)², without a half, as torch.nn.MSELoss."""

    def reduced(self, prediction: torch.Tensor, target: torch.Tensor, how: str) -> torch.Tensor:
        """As torch.nn.MSELoss."""
        return functional.mse_loss(prediction, target, reduction=how)


@dataclass(frozen=True, slots=True)
class Mae(_Elementwise):
    """The mean of |y - ŷ|, as torch.nn.L1Loss."""

    def reduced(self, prediction: torch.Tensor, target: torch.Tensor, how: str) -> torch.Tensor:
        """As torch.nn.L1Loss."""
        return functional.l1_loss(prediction, target, reduction=how)


@dataclass(frozen=True, slots=True)
class Huber(_Elementwise):
    """Half squares up to `delta`, and straight lines from there on, as torch.nn.HuberLoss."""

    delta: float

    def reduced(self, prediction: torch.Tensor, target: torch.Tensor, how: str) -> torch.Tensor:
        """As torch.nn.HuberLoss."""
        return functional.huber_loss(prediction, target, reduction=how, delta=self.delta)


@dataclass(frozen=True, slots=True)
class SmoothL1(_Elementwise):
    """Half squares over `beta` up to `beta`, then |y - ŷ| - beta/2, as torch.nn.SmoothL1Loss."""

    beta: float

    def reduced(self, prediction: torch.Tensor, target: torch.Tensor, how: str) -> torch.Tensor:
        """As torch.nn.SmoothL1Loss."""
        return functional.smooth_l1_loss(prediction, target, reduction=how, beta=self.beta)


@dataclass(frozen=True, slots=True)
class Quantile(_Elementwise):
    """The mean of max(q·(y - ŷ), (q - 1)·(y - ŷ)): its best constant is the q-quantile.

    Koenker and Bassett, Regression Quantiles (1978); also called the pinball loss.
    """

    q: float

    def reduced(self, prediction: torch.Tensor, target: torch.Tensor, how: str) -> torch.Tensor:
        """As scikit-learn's mean_pinball_loss."""
        residual = target - prediction
        losses = torch.maximum(self.q * residual, (self.q - 1) * residual)
        return losses.mean() if how == "mean" else losses


@dataclass(frozen=True, slots=True)
class Poisson(_Elementwise):
    """The mean of exp(ŷ) - y·ŷ, the prediction the logarithm of the rate: PoissonNLLLoss."""

    def reduced(self, prediction: torch.Tensor, target: torch.Tensor, how: str) -> torch.Tensor:
        """As torch.nn.PoissonNLLLoss with `log_input`."""
        return functional.poisson_nll_loss(prediction, target, reduction=how)


@dataclass(frozen=True, slots=True)
class Bce(_Elementwise):
    """Binary cross entropy of log odds, as torch.nn.BCEWithLogitsLoss."""

    pos_weight: float | None

    def reduced(self, prediction: torch.Tensor, target: torch.Tensor, how: str) -> torch.Tensor:
        """As torch.nn.BCEWithLogitsLoss."""
        weight = None if self.pos_weight is None else prediction.new_tensor(self.pos_weight)
        return functional.binary_cross_entropy_with_logits(
            prediction, target, reduction=how, pos_weight=weight
        )


@dataclass(frozen=True, slots=True)
class Hinge(_Elementwise):
    """The mean of max(0, 1 - s·ŷ), s = 1 for the second class, -1 for the first."""

    def reduced(self, prediction: torch.Tensor, target: torch.Tensor, how: str) -> torch.Tensor:
        """As scikit-learn's hinge_loss."""
        losses = (1 - (2 * target - 1) * prediction).clamp(min=0)
        return losses.mean() if how == "mean" else losses


@dataclass(frozen=True, slots=True)
class CrossEntropy:
    """Cross entropy of class scores (m, c) with classes (m, 1), as torch.nn.CrossEntropyLoss.

    With `class_weight`, (c,), a sample counts as much as its class does.
    """

    label_smoothing: float
    class_weight: Sequence[float] | None

    def mean(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The mean over the samples: a scalar."""
        return self._reduced(prediction, target, "mean")

    def of_samples(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Each sample's loss, (m,), times its class's weight."""
        return self._reduced(prediction, target, "none")

    def counts(self, target: torch.Tensor) -> torch.Tensor | None:
        """How much each sample counts, (m,); None where all count alike."""
        if self.class_weight is None:
            return None
        return target.new_tensor(self.class_weight)[target[:, 0].long()]

    def _reduced(self, prediction: torch.Tensor, target: torch.Tensor, how: str) -> torch.Tensor:
        weight = None if self.class_weight is None else prediction.new_tensor(self.class_weight)
        return functional.cross_entropy(
            prediction,
            target[:, 0].long(),
            weight=weight,
            reduction=how,
            label_smoothing=self.label_smoothing,
        )


# One entry a kind of the contract.
LOSSES: Mapping[str, type[Loss]] = {
    "mse": Mse,
    "mae": Mae,
    "huber": Huber,
    "smooth_l1": SmoothL1,
    "quantile": Quantile,
    "poisson": Poisson,
    "bce": Bce,
    "cross_entropy": CrossEntropy,
    "hinge": Hinge,
}
