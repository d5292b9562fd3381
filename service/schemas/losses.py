"""The losses, by torch.nn's names and defaults: means over samples."""

from typing import Annotated, Literal

from pydantic import Field

from service.schemas.common import NonNegative, Positive, Schema


class MseLoss(Schema):
    """The mean of (y − ŷ)², without a half."""

    kind: Literal["mse"] = "mse"


class MaeLoss(Schema):
    """The mean of |y − ŷ|."""

    kind: Literal["mae"]


class HuberLoss(Schema):
    """torch.nn.HuberLoss."""

    kind: Literal["huber"]
    delta: Positive = 1.0


class SmoothL1Loss(Schema):
    """torch.nn.SmoothL1Loss."""

    kind: Literal["smooth_l1"]
    beta: NonNegative = 1.0


class QuantileLoss(Schema):
    """The mean of max(q·(y − ŷ), (q − 1)·(y − ŷ)), also called pinball loss."""

    kind: Literal["quantile"]
    q: Annotated[float, Field(gt=0, lt=1)] = 0.5


class PoissonLoss(Schema):
    """torch.nn.PoissonNLLLoss: ŷ is the logarithm of the rate, targets are 0 or more."""

    kind: Literal["poisson"]


Loss = Annotated[
    MseLoss | MaeLoss | HuberLoss | SmoothL1Loss | QuantileLoss | PoissonLoss,
    Field(discriminator="kind"),
]


class Penalty(Schema):
    """l1·Σ|w| + l2·Σw² (no half) over weights, never biases, added to the mean loss."""

    l1: NonNegative = 0.0
    l2: NonNegative = 0.0
