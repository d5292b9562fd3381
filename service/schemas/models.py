"""The models."""

from typing import Annotated, Literal

from pydantic import Field

from service.schemas.common import Schema


class LinearModel(Schema):
    """y = x·weightᵀ + bias."""

    kind: Literal["linear"] = "linear"
    bias: bool = True


class LogisticModel(Schema):
    """The linear model of the log odds of the second of two classes."""

    kind: Literal["logistic"]
    bias: bool = True


class SoftmaxModel(Schema):
    """A linear model of each class's score, of which softmax makes probabilities."""

    kind: Literal["softmax"]
    bias: bool = True


Model = Annotated[LinearModel | LogisticModel | SoftmaxModel, Field(discriminator="kind")]
