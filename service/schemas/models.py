"""The models."""

from typing import Annotated, Literal

from pydantic import Field

from service.schemas.common import Schema


class LinearModel(Schema):
    """y = x·weightᵀ + bias."""

    kind: Literal["linear"] = "linear"
    bias: bool = True


class PolynomialModel(Schema):
    """The linear model of the features, their powers and their products: x, x^2, x*z, …

    All terms up to `degree`; without `interactions` the powers of each feature alone.
    """

    kind: Literal["polynomial"]
    degree: Annotated[int, Field(ge=1, le=100)] = 2
    interactions: bool = True
    bias: bool = True


class LogisticModel(Schema):
    """The linear model of the log odds of the second of two classes."""

    kind: Literal["logistic"]
    bias: bool = True


class SoftmaxModel(Schema):
    """A linear model of each class's score, of which softmax makes probabilities."""

    kind: Literal["softmax"]
    bias: bool = True


class Mlp(Schema):
    """A multilayer perceptron: layers of `hidden` widths, then one for the targets or classes.

    A hidden layer is followed by a batch norm, the activation and a dropout, as far as asked for.
    `output` is what is done to the last layer's numbers; `auto` and `linear` leave them alone.
    """

    kind: Literal["mlp"]
    hidden: Annotated[
        list[Annotated[int, Field(ge=1, le=100_000)]], Field(max_length=100, examples=[[16, 16]])
    ]
    activation: Literal["relu", "tanh", "sigmoid", "gelu", "silu", "leaky_relu", "identity"] = (
        "relu"
    )
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    batch_norm: bool = False
    output: Literal["auto", "linear", "sigmoid", "tanh", "softplus"] = "auto"


Model = Annotated[
    LinearModel | PolynomialModel | LogisticModel | SoftmaxModel | Mlp, Field(discriminator="kind")
]
