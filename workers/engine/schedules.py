"""The learning-rate schedules: torch.optim.lr_scheduler's names, arguments and rules."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from torch.optim import Optimizer as TorchOptimizer
from torch.optim import lr_scheduler

from workers.engine.errors import SpecificationError

Interval = Literal["step", "epoch"]

# One entry a kind of the contract.
SCHEDULES: Mapping[str, type[lr_scheduler.LRScheduler]] = {
    "step": lr_scheduler.StepLR,
    "multistep": lr_scheduler.MultiStepLR,
    "exponential": lr_scheduler.ExponentialLR,
    "cosine": lr_scheduler.CosineAnnealingLR,
    "cosine_warm_restarts": lr_scheduler.CosineAnnealingWarmRestarts,
    "one_cycle": lr_scheduler.OneCycleLR,
    "linear": lr_scheduler.LinearLR,
    "polynomial": lr_scheduler.PolynomialLR,
    "constant": lr_scheduler.ConstantLR,
    "reduce_on_plateau": lr_scheduler.ReduceLROnPlateau,
    "cyclic": lr_scheduler.CyclicLR,
}


@dataclass(frozen=True, slots=True)
class Schedule:
    """One of `SCHEDULES`, its arguments, and whether it moves after each step or each epoch."""

    kind: str
    interval: Interval
    arguments: Mapping[str, Any]

    def __post_init__(self) -> None:
        if self.kind not in SCHEDULES:
            known = ", ".join(map(repr, SCHEDULES))
            detail = f"the engine knows {known}, no {self.kind!r}"
            raise SpecificationError("/scheduler/kind", detail)

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Self:
        """Its JSON object → the schedule."""
        arguments = {k: v for k, v in mapping.items() if k not in ("kind", "interval")}
        return cls(mapping["kind"], mapping["interval"], arguments)

    @property
    def looks_at_the_loss(self) -> bool:
        """Whether the rate follows from the losses, and not from their number alone."""
        return self.kind == "reduce_on_plateau"

    def build(self, optimizer: TorchOptimizer, n_moves: int) -> lr_scheduler.LRScheduler:
        """The torch schedule of the optimizer, which will be moved so many times.

        Raises SpecificationError for arguments that torch refuses.
        """
        arguments = dict(self.arguments)
        if self.kind == "one_cycle":
            arguments["total_steps"] = arguments["total_steps"] or max(1, n_moves)
            if arguments["total_steps"] < n_moves:
                detail = f"the cycle must last for all {n_moves} moves of the fit, or be null"
                raise SpecificationError("/scheduler/total_steps", detail)
        try:
            return SCHEDULES[self.kind](optimizer, **arguments)
        except (ValueError, ZeroDivisionError) as error:
            raise SpecificationError("/scheduler", str(error)) from error
