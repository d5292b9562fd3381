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


class BceLoss(Schema):
    """torch.nn.BCEWithLogitsLoss: two classes, ŷ the log odds of the second."""

    kind: Literal["bce"]
    pos_weight: Positive | None = None


class CrossEntropyLoss(Schema):
    """torch.nn.CrossEntropyLoss; `class_weight` in the order of the sorted classes."""

    kind: Literal["cross_entropy"]
    label_smoothing: Annotated[float, Field(ge=0, le=1)] = 0.0
    class_weight: Annotated[list[NonNegative], Field(min_length=2)] | None = None


class HingeLoss(Schema):
    """The mean of max(0, 1 − s·ŷ): two classes, s is 1 for the second and −1 for the first."""

    kind: Literal["hinge"]


Loss = Annotated[
    MseLoss
    | MaeLoss
    | HuberLoss
    | SmoothL1Loss
    | QuantileLoss
    | PoissonLoss
    | BceLoss
    | CrossEntropyLoss
    | HingeLoss,
    Field(discriminator="kind"),
]


class Penalty(Schema):
    """l1·Σ|w| + l2·Σw² (no half) over weights, never biases, added to the mean loss."""

    l1: NonNegative = 0.0
    l2: NonNegative = 0.0
