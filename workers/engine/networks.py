"""Multilayer perceptrons."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from workers.engine.data import Shape
from workers.engine.layers import draw_layer
from workers.engine.shuffling import shuffle_seed

Activation = Callable[[torch.Tensor], torch.Tensor]

# One entry a name of the contract; torch's functions and defaults.
ACTIVATIONS: Mapping[str, Activation] = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "gelu": functional.gelu,
    "silu": functional.silu,
    "leaky_relu": functional.leaky_relu,
    "identity": lambda x: x,
}
# What is done to the last layer's numbers: by default nothing, for losses take them as they are.
OUTPUTS: Mapping[str, Activation] = {
    "auto": ACTIVATIONS["identity"],
    "linear": ACTIVATIONS["identity"],
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "softplus": functional.softplus,
}


class Network(nn.Module):
    """Linear layers, each but the last followed by a batch norm, an activation and a dropout.

    `begin_step` must come before each training step's first forward pass, for its dropout.
    """

    def __init__(self, mlp: "Mlp", widths: list[int], dtype: torch.dtype) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Linear(n_in, n_out, device="meta", dtype=dtype) for n_in, n_out in pairwise(widths)
        )
        self.norms = nn.ModuleList(
            nn.BatchNorm1d(width, device="meta", dtype=dtype)
            for width in (mlp.hidden if mlp.batch_norm else ())
        )
        self.made_of = mlp
        self._activation = ACTIVATIONS[mlp.activation]
        self._output = OUTPUTS[mlp.output]
        self._dropout = mlp.dropout
        self._generator = torch.Generator()

    def begin_step(self, seed: int, step: int) -> None:
        """Draw the step's dropout anew, from its own seed: the same however often it is drawn."""
        self._generator.manual_seed(shuffle_seed(seed, step))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (m, d) → (m, k)."""
        for i, layer in enumerate(self.layers[:-1]):
            x = layer(x)
            if self.norms:
                x = self.norms[i](x)
            x = self._dropped(self._activation(x))
        return self._output(self.layers[-1](x))

    def _dropped(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training or self._dropout == 0:
            return x
        return x * self.draw_kept(x) / (1 - self._dropout)

    def draw_kept(self, x: torch.Tensor) -> torch.Tensor:
        """Which numbers of x the next dropout keeps, a bool each."""
        drawn = torch.rand(x.shape, generator=self._generator, dtype=x.dtype)
        return drawn >= self._dropout


@dataclass(frozen=True, slots=True)
class Mlp:
    """A multilayer perceptron: `hidden` widths, then a number for each target or class."""

    hidden: tuple[int, ...]
    activation: str
    dropout: float
    batch_norm: bool
    output: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))

    def widths(self, shape: Shape) -> list[int]:
        """The numbers that go into each layer, and those that come out of the last one."""
        return [shape.n_features, *self.hidden, self.n_outputs(shape)]

    def n_outputs(self, shape: Shape) -> int:
        """How many numbers the model gives for a row."""
        return shape.n_classes or shape.n_targets

    def weight_shapes(self, shape: Shape) -> dict[str, tuple[int, ...]]:
        """The shape of every weight by its state_dict name, in the module's order."""
        shapes: dict[str, tuple[int, ...]] = {}
        for i, (n_in, n_out) in enumerate(pairwise(self.widths(shape))):
            shapes |= {f"layers.{i}.weight": (n_out, n_in), f"layers.{i}.bias": (n_out,)}
        for i, width in enumerate(self.hidden if self.batch_norm else ()):
            shapes |= {f"norms.{i}.{name}": (width,) for name in _NORM}
        return shapes

    def draw(
        self, shape: Shape, dtype: torch.dtype, generator: torch.Generator
    ) -> dict[str, torch.Tensor]:
        """Initial weights as torch draws them for its layers, one after the other."""
        drawn: dict[str, torch.Tensor] = {}
        for i, (n_in, n_out) in enumerate(pairwise(self.widths(shape))):
            layer = draw_layer(n_in, n_out, dtype, generator, bias=True)
            drawn |= {f"layers.{i}.{name}": tensor for name, tensor in layer.items()}
        for i, width in enumerate(self.hidden if self.batch_norm else ()):
            for name, value in _NORM.items():
                drawn[f"norms.{i}.{name}"] = torch.full((width,), value, dtype=dtype)
        return drawn

    def module(self, shape: Shape, dtype: torch.dtype) -> nn.Module:
        """The torch module, its weights not yet set: making it draws no random number."""
        return Network(self, self.widths(shape), dtype).to_empty(device="cpu")


# What a batch norm starts from, as torch.nn.BatchNorm1d.
_NORM = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}
