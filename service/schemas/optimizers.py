"""The optimizers, by torch.optim's argument names and defaults."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from service.schemas.common import NonNegative, Positive, Schema

Share = Annotated[float, Field(ge=0, lt=1)]
Betas = Annotated[list[Share], Field(min_length=2, max_length=2)]
PositivePair = Annotated[list[Positive], Field(min_length=2, max_length=2)]


class _Gradient(Schema):
    """What every optimizer takes that follows one gradient; `maximize` climbs the loss instead."""

    maximize: bool = False


class Sgd(_Gradient):
    """torch.optim.SGD."""

    kind: Literal["sgd"] = "sgd"
    lr: NonNegative = 1e-3
    momentum: NonNegative = 0.0
    nesterov: bool = False
    weight_decay: NonNegative = 0.0
    dampening: float = 0.0

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Self:
        if self.nesterov and (self.momentum <= 0 or self.dampening != 0):
            raise PydanticCustomError(
                "nesterov_needs_momentum",
                "nesterov needs a momentum above 0 and a dampening of 0",
            )
        return self


class Adam(_Gradient):
    """torch.optim.Adam."""

    kind: Literal["adam"]
    lr: NonNegative = 1e-3
    betas: Betas = [0.9, 0.999]
    eps: NonNegative = 1e-8
    weight_decay: NonNegative = 0.0
    amsgrad: bool = False
    decoupled_weight_decay: bool = False


class AdamW(_Gradient):
    """torch.optim.AdamW."""

    kind: Literal["adamw"]
    lr: NonNegative = 1e-3
    betas: Betas = [0.9, 0.999]
    eps: NonNegative = 1e-8
    weight_decay: NonNegative = 1e-2
    amsgrad: bool = False


class Adamax(_Gradient):
    """torch.optim.Adamax."""

    kind: Literal["adamax"]
    lr: NonNegative = 2e-3
    betas: Betas = [0.9, 0.999]
    eps: NonNegative = 1e-8
    weight_decay: NonNegative = 0.0


class NAdam(_Gradient):
    """torch.optim.NAdam."""

    kind: Literal["nadam"]
    lr: NonNegative = 2e-3
    betas: Betas = [0.9, 0.999]
    eps: NonNegative = 1e-8
    weight_decay: NonNegative = 0.0
    momentum_decay: NonNegative = 4e-3
    decoupled_weight_decay: bool = False


class RAdam(_Gradient):
    """torch.optim.RAdam."""

    kind: Literal["radam"]
    lr: NonNegative = 1e-3
    betas: Betas = [0.9, 0.999]
    eps: NonNegative = 1e-8
    weight_decay: NonNegative = 0.0
    decoupled_weight_decay: bool = False


class RmsProp(_Gradient):
    """torch.optim.RMSprop."""

    kind: Literal["rmsprop"]
    lr: NonNegative = 1e-2
    alpha: Annotated[float, Field(ge=0)] = 0.99
    eps: NonNegative = 1e-8
    weight_decay: NonNegative = 0.0
    momentum: NonNegative = 0.0
    centered: bool = False


class Adagrad(_Gradient):
    """torch.optim.Adagrad."""

    kind: Literal["adagrad"]
    lr: NonNegative = 1e-2
    lr_decay: NonNegative = 0.0
    weight_decay: NonNegative = 0.0
    initial_accumulator_value: NonNegative = 0.0
    eps: NonNegative = 1e-10


class Adadelta(_Gradient):
    """torch.optim.Adadelta."""

    kind: Literal["adadelta"]
    lr: NonNegative = 1.0
    rho: Annotated[float, Field(ge=0, le=1)] = 0.9
    eps: NonNegative = 1e-6
    weight_decay: NonNegative = 0.0


class Asgd(_Gradient):
    """torch.optim.ASGD."""

    kind: Literal["asgd"]
    lr: NonNegative = 1e-2
    lambd: float = 1e-4
    alpha: float = 0.75
    t0: float = 1e6
    weight_decay: NonNegative = 0.0


class Rprop(_Gradient):
    """torch.optim.Rprop."""

    kind: Literal["rprop"]
    lr: NonNegative = 1e-2
    etas: PositivePair = [0.5, 1.2]
    step_sizes: PositivePair = [1e-6, 50.0]

    @model_validator(mode="after")
    def _shrinks_then_grows(self) -> Self:
        if not self.etas[0] < 1 < self.etas[1]:
            raise PydanticCustomError("etas", "etas are [below 1, above 1]")
        return self


class Lbfgs(Schema):
    """torch.optim.LBFGS; one step is one `step(closure)`."""

    kind: Literal["lbfgs"]
    lr: NonNegative = 1.0
    max_iter: Annotated[int, Field(ge=1, le=10_000)] = 20
    max_eval: Annotated[int, Field(ge=1, le=100_000)] | None = None
    tolerance_grad: NonNegative = 1e-7
    tolerance_change: NonNegative = 1e-9
    history_size: Annotated[int, Field(ge=1, le=1_000)] = 100
    line_search_fn: Literal["strong_wolfe"] | None = None


Optimizer = Annotated[
    Sgd
    | Adam
    | AdamW
    | Adamax
    | NAdam
    | RAdam
    | RmsProp
    | Adagrad
    | Adadelta
    | Asgd
    | Rprop
    | Lbfgs,
    Field(discriminator="kind"),
]
