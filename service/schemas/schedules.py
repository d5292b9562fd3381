"""The learning-rate schedules, by torch.optim.lr_scheduler's argument names and defaults."""

from typing import Annotated, Literal

from pydantic import Field

from service.schemas.common import Count, NonNegative, Positive, Schema

Factor = Annotated[float, Field(gt=0, le=1)]


class Scheduled(Schema):
    """The rate moves after each update, or after an epoch's last one."""

    interval: Literal["epoch", "step"] = "epoch"


class StepSchedule(Scheduled):
    """StepLR."""

    kind: Literal["step"]
    step_size: Count
    gamma: Positive = 0.1


class MultiStepSchedule(Scheduled):
    """MultiStepLR."""

    kind: Literal["multistep"]
    milestones: Annotated[list[Count], Field(min_length=1, max_length=10_000)]
    gamma: Positive = 0.1


class ExponentialSchedule(Scheduled):
    """ExponentialLR."""

    kind: Literal["exponential"]
    gamma: Positive


class CosineSchedule(Scheduled):
    """CosineAnnealingLR."""

    kind: Literal["cosine"]
    T_max: Count
    eta_min: NonNegative = 0.0


class CosineWarmRestartsSchedule(Scheduled):
    """CosineAnnealingWarmRestarts."""

    kind: Literal["cosine_warm_restarts"]
    T_0: Count
    T_mult: Count = 1
    eta_min: NonNegative = 0.0


class OneCycleSchedule(Scheduled):
    """OneCycleLR; `total_steps` null is the whole fit."""

    kind: Literal["one_cycle"]
    max_lr: Positive
    total_steps: Count | None = None
    pct_start: Annotated[float, Field(gt=0, lt=1)] = 0.3
    anneal_strategy: Literal["cos", "linear"] = "cos"
    cycle_momentum: bool = True
    base_momentum: NonNegative = 0.85
    max_momentum: NonNegative = 0.95
    div_factor: Positive = 25.0
    final_div_factor: Positive = 1e4
    three_phase: bool = False


class LinearSchedule(Scheduled):
    """LinearLR."""

    kind: Literal["linear"]
    start_factor: Factor = 1 / 3
    end_factor: Annotated[float, Field(ge=0, le=1)] = 1.0
    total_iters: Count = 5


class PolynomialSchedule(Scheduled):
    """PolynomialLR."""

    kind: Literal["polynomial"]
    total_iters: Count = 5
    power: NonNegative = 1.0


class ConstantSchedule(Scheduled):
    """ConstantLR."""

    kind: Literal["constant"]
    factor: Annotated[float, Field(ge=0, le=1)] = 1 / 3
    total_iters: Count = 5


class ReduceOnPlateauSchedule(Scheduled):
    """ReduceLROnPlateau: by step it looks at that step's loss, by epoch at the epoch's."""

    kind: Literal["reduce_on_plateau"]
    mode: Literal["min", "max"] = "min"
    factor: Annotated[float, Field(ge=0, lt=1)] = 0.1
    patience: Annotated[int, Field(ge=0, lt=2**63)] = 10
    threshold: NonNegative = 1e-4
    threshold_mode: Literal["rel", "abs"] = "rel"
    cooldown: Annotated[int, Field(ge=0, lt=2**63)] = 0
    min_lr: NonNegative = 0.0
    eps: NonNegative = 1e-8


class CyclicSchedule(Scheduled):
    """CyclicLR."""

    kind: Literal["cyclic"]
    base_lr: NonNegative
    max_lr: Positive
    step_size_up: Count = 2000
    step_size_down: Count | None = None
    mode: Literal["triangular", "triangular2", "exp_range"] = "triangular"
    gamma: Positive = 1.0
    cycle_momentum: bool = True
    base_momentum: NonNegative = 0.8
    max_momentum: NonNegative = 0.9


Schedule = Annotated[
    StepSchedule
    | MultiStepSchedule
    | ExponentialSchedule
    | CosineSchedule
    | CosineWarmRestartsSchedule
    | OneCycleSchedule
    | LinearSchedule
    | PolynomialSchedule
    | ConstantSchedule
    | ReduceOnPlateauSchedule
    | CyclicSchedule,
    Field(discriminator="kind"),
]
