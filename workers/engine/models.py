"""The models: their weights' names and shapes, torch's own draws, and their torch modules."""

import math
from dataclasses import dataclass

import torch
from torch import nn

from workers.engine.data import Shape


@dataclass(frozen=True, slots=True)
class Linear:
    """y = x·weightᵀ + bias, as torch.nn.Linear."""

    bias: bool

    def weight_shapes(self, shape: Shape) -> dict[str, tuple[int, ...]]:
        """The shape of every weight by its state_dict name, in the module's order."""
        shapes: dict[str, tuple[int, ...]] = {"weight": (shape.n_targets, shape.n_features)}
        return shapes | {"bias": (shape.n_targets,)} if self.bias else shapes

    def draw(
        self, shape: Shape, dtype: torch.dtype, generator: torch.Generator
    ) -> dict[str, torch.Tensor]:
        """Initial weights as torch.nn.Linear.reset_parameters draws them."""
        drawn = {
            name: torch.empty(size, dtype=dtype) for name, size in self.weight_shapes(shape).items()
        }
        nn.init.kaiming_uniform_(drawn["weight"], a=math.sqrt(5), generator=generator)
        if self.bias:
            bound = 1 / math.sqrt(shape.n_features)
            nn.init.uniform_(drawn["bias"], -bound, bound, generator=generator)
        return drawn

    def module(self, shape: Shape, dtype: torch.dtype) -> nn.Module:
        """The torch module, its weights not yet set: making it draws no random number."""
        linear = nn.Linear(
            shape.n_features, shape.n_targets, bias=self.bias, device="meta", dtype=dtype
        )
        return linear.to_empty(device="cpu")


Model = Linear

MODELS: dict[str, type[Model]] = {"linear": Linear}
