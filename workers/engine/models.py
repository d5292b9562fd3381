"""The models: their weights' names and shapes, torch's own draws, and their torch modules."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from workers.engine.data import Shape
from workers.engine.errors import SpecificationError
from workers.engine.layers import draw_layer
from workers.engine.networks import Mlp


@dataclass(frozen=True, slots=True)
class Linear:
    """y = x·weightᵀ + bias, as torch.nn.Linear: a number for each target."""

    bias: bool

    def n_outputs(self, shape: Shape) -> int:
        """How many numbers the model gives for a row."""
        return shape.n_targets

    def weight_shapes(self, shape: Shape) -> dict[str, tuple[int, ...]]:
        """The shape of every weight by its state_dict name, in the module's order."""
        n_outputs = self.n_outputs(shape)
        shapes: dict[str, tuple[int, ...]] = {"weight": (n_outputs, shape.n_features)}
        return shapes | {"bias": (n_outputs,)} if self.bias else shapes

    def draw(
        self, shape: Shape, dtype: torch.dtype, generator: torch.Generator
    ) -> dict[str, torch.Tensor]:
        """Initial weights as torch.nn.Linear.reset_parameters draws them."""
        n_outputs = self.n_outputs(shape)
        return draw_layer(shape.n_features, n_outputs, dtype, generator, bias=self.bias)

    def module(self, shape: Shape, dtype: torch.dtype) -> nn.Module:
        """The torch module, its weights not yet set: making it draws no random number."""
        linear = nn.Linear(
            shape.n_features, self.n_outputs(shape), bias=self.bias, device="meta", dtype=dtype
        )
        return linear.to_empty(device="cpu")


@dataclass(frozen=True, slots=True)
class Polynomial(Linear):
    """The linear model of a polynomial's terms: the data hold them as features already.

    They are made where columns become features, which knows the columns' names and kinds.
    """

    degree: int
    interactions: bool


class Logistic(Linear):
    """The linear model of the second class's log odds."""

    __slots__ = ()


class Softmax(Linear):
    """A linear model of each class's score: softmax makes probabilities of them."""

    __slots__ = ()

    def n_outputs(self, shape: Shape) -> int:
        """One for each class."""
        if shape.n_classes is None:
            raise SpecificationError("/target", "softmax needs a target of classes")
        return shape.n_classes


Model = Linear | Mlp


def layer_widths(model: Model, shape: Shape) -> list[int]:
    """The numbers that go into each layer, and those that come out of the last one."""
    if isinstance(model, Mlp):
        return model.widths(shape)
    return [shape.n_features, model.n_outputs(shape)]


# One entry a kind of the contract.
MODELS: Mapping[str, type[Model]] = {
    "linear": Linear,
    "polynomial": Polynomial,
    "logistic": Logistic,
    "softmax": Softmax,
    "mlp": Mlp,
}
