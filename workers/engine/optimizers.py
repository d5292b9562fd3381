"""The optimizers: torch.optim's names, arguments and rules."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

from workers.engine.errors import SpecificationError


@dataclass(frozen=True, slots=True)
class Sgd:
    """torch.optim.SGD.

    Raises SpecificationError for a nesterov that torch refuses.
    """

    lr: float
    momentum: float
    nesterov: bool
    weight_decay: float
    dampening: float

    def __post_init__(self) -> None:
        if self.nesterov and (self.momentum <= 0 or self.dampening != 0):
            raise SpecificationError(
                "/optimizer/nesterov", "nesterov needs a momentum above 0 and a dampening of 0"
            )

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """The torch optimizer of these parameters, as one group."""
        return torch.optim.SGD(
            parameters,
            lr=self.lr,
            momentum=self.momentum,
            dampening=self.dampening,
            weight_decay=self.weight_decay,
            nesterov=self.nesterov,
        )


Optimizer = Sgd

OPTIMIZERS: dict[str, type[Optimizer]] = {"sgd": Sgd}
