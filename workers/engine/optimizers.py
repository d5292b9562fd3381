"""The optimizers: torch.optim's names, arguments and rules."""

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Self

import torch
from torch import nn, optim

from workers.engine.errors import SpecificationError

# One entry a kind of the contract.
OPTIMIZERS: Mapping[str, type[optim.Optimizer]] = {
    "sgd": optim.SGD,
    "adam": optim.Adam,
    "adamw": optim.AdamW,
    "adamax": optim.Adamax,
    "nadam": optim.NAdam,
    "radam": optim.RAdam,
    "rmsprop": optim.RMSprop,
    "adagrad": optim.Adagrad,
    "adadelta": optim.Adadelta,
    "asgd": optim.ASGD,
    "rprop": optim.Rprop,
    "lbfgs": optim.LBFGS,
}
# Those that torch has in one pass on a CPU too.
_FUSED = frozenset({"sgd", "adam", "adamw", "adagrad"})


@cache
def _defaults(kind: str) -> Mapping[str, Any]:
    parameters = inspect.signature(OPTIMIZERS[kind]).parameters.values()
    return {one.name: one.default for one in parameters if one.default is not one.empty}


@lru_cache(maxsize=1_024)
def _refusal(kind: str, arguments: tuple[tuple[str, Any], ...]) -> str | None:
    """What torch says against the arguments, asked once: to ask takes longer than a small fit."""
    try:
        OPTIMIZERS[kind]([nn.Parameter(torch.zeros(1))], **dict(arguments))
    except ValueError as error:
        return str(error)
    return None


@dataclass(frozen=True, slots=True)
class Optimizer:
    """One of `OPTIMIZERS` and its arguments, all of them filled in.

    Raises SpecificationError for a kind that is unknown, and where nesterov goes with no momentum
    or with a dampening.
    """

    kind: str
    arguments: Mapping[str, Any]

    def __post_init__(self) -> None:
        if self.kind not in OPTIMIZERS:
            known = ", ".join(map(repr, OPTIMIZERS))
            detail = f"the engine knows {known}, no {self.kind!r}"
            raise SpecificationError("/optimizer/kind", detail)
        if not (self.kind == "sgd" and self.arguments["nesterov"]):
            return
        # torch's own words for this name no field.
        if self.arguments["momentum"] <= 0 or self.arguments["dampening"] != 0:
            raise SpecificationError(
                "/optimizer/nesterov", "nesterov needs a momentum above 0 and a dampening of 0"
            )

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Self:
        """Its JSON object → the optimizer."""
        arguments = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in mapping.items()
            if name != "kind"
        }
        return cls(mapping["kind"], arguments)

    @property
    def all_arguments(self) -> Mapping[str, Any]:
        """The arguments, and torch's defaults of those that are not given."""
        return {**_defaults(self.kind), **self.arguments}

    @property
    def lr(self) -> float:
        """The learning rate before any schedule."""
        return float(self.arguments["lr"])

    @property
    def made_by(self) -> dict[str, Any]:
        """What its state depends on, as JSON says it: all but the learning rate."""
        others = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in self.arguments.items()
            if name != "lr"
        }
        return {"kind": self.kind, **others}

    @property
    def climbs(self) -> bool:
        """Whether it goes up the loss."""
        return bool(self.arguments.get("maximize", False))

    @property
    def searches(self) -> bool:
        """Whether a step looks at the loss several times, as LBFGS does."""
        return self.kind == "lbfgs"

    def check(self) -> None:
        """Raise SpecificationError for arguments that torch refuses."""
        refusal = _refusal(self.kind, tuple(self.arguments.items()))
        if refusal is not None:
            raise SpecificationError("/optimizer", refusal)

    def for_schedule(self) -> optim.Optimizer:
        """The torch optimizer of one number that nobody fits: a schedule moves its rate."""
        return self.build([nn.Parameter(torch.zeros(1))])

    def build(self, parameters: Iterable[nn.Parameter], *, fused: bool = False) -> optim.Optimizer:
        """The torch optimizer of these parameters, as one group; raises what `check` does.

        `fused` where torch has its update as one pass over the numbers, which rounds otherwise.
        """
        self.check()
        build: Any = OPTIMIZERS[self.kind]
        extra = {"fused": True} if fused and self.kind in _FUSED else {}
        optimizer: optim.Optimizer = build(parameters, **self.arguments, **extra)
        return optimizer
