"""The weights that a fit starts from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from workers.engine.data import Shape
from workers.engine.dtypes import DType, Weights, largest, numpy_dtype, torch_dtype
from workers.engine.errors import SpecificationError
from workers.engine.models import Model


@dataclass(frozen=True, slots=True)
class DefaultInit:
    """torch's own draws, from a generator of their own."""

    def check(self, model: Model, shape: Shape, dtype: DType) -> None:
        """Nothing to refuse: the draws follow the model's shapes."""

    def weights(self, model: Model, shape: Shape, dtype: DType, seed: int) -> Weights:
        """The bits of `torch.manual_seed(seed)` followed by the model's construction."""
        generator = torch.Generator().manual_seed(seed)
        drawn = model.draw(shape, torch_dtype(dtype), generator)
        return {name: tensor.numpy() for name, tensor in drawn.items()}


@dataclass(frozen=True, slots=True)
class SchemeInit:
    """Weights drawn by one of `SCHEMES`, biases 0; a batch norm starts as torch has it.

    Raises SpecificationError for a scheme that is unknown.
    """

    kind: str
    arguments: Mapping[str, Any]

    def __post_init__(self) -> None:
        if self.kind not in SCHEMES:
            known = ", ".join(map(repr, ("default", *SCHEMES)))
            detail = f"the engine knows {known}, no {self.kind!r}"
            raise SpecificationError("/init/kind", detail)

    def check(self, model: Model, shape: Shape, dtype: DType) -> None:
        """Nothing to refuse: the draws follow the model's shapes."""

    def weights(self, model: Model, shape: Shape, dtype: DType, seed: int) -> Weights:
        """Layer after layer, from a generator of its own."""
        generator = torch.Generator().manual_seed(seed)
        drawn = model.draw(shape, torch_dtype(dtype), torch.Generator())
        for name, tensor in drawn.items():
            if name.startswith("norms"):
                continue
            if tensor.ndim == 1:
                nn.init.zeros_(tensor)
            else:
                SCHEMES[self.kind](tensor, generator=generator, **self.arguments)
        return {name: tensor.numpy() for name, tensor in drawn.items()}


def _zeros(tensor: torch.Tensor, generator: torch.Generator) -> None:
    nn.init.zeros_(tensor)


# One entry a kind of the contract; torch.nn.init's functions and defaults.
SCHEMES: Mapping[str, Callable[..., Any]] = {
    "zeros": _zeros,
    "uniform": nn.init.uniform_,
    "normal": nn.init.normal_,
    "xavier_uniform": nn.init.xavier_uniform_,
    "xavier_normal": nn.init.xavier_normal_,
    "kaiming_uniform": nn.init.kaiming_uniform_,
    "kaiming_normal": nn.init.kaiming_normal_,
    "orthogonal": nn.init.orthogonal_,
}


@dataclass(frozen=True, slots=True, eq=False)
class GivenInit:
    """Weights by their state_dict names, as float64."""

    given: Mapping[str, NDArray[np.float64]]

    @classmethod
    def from_mapping(cls, weights: Mapping[str, Any]) -> Self:
        """Nested lists → arrays; raises SpecificationError for a ragged one."""
        return cls({name: _array(name, values) for name, values in weights.items()})

    def check(self, model: Model, shape: Shape, dtype: DType) -> None:
        """Raise SpecificationError where a weight is missing, unknown or not of the model's shape.

        A weight past the dtype's range is refused too.
        """
        expected = model.weight_shapes(shape)
        for name, size in expected.items():
            if name not in self.given:
                detail = f"{name!r} of shape {size} is missing"
                raise SpecificationError("/init/weights", detail)
        for name, array in self.given.items():
            if name not in expected:
                detail = f"the model has {', '.join(map(repr, expected))}, no {name!r}"
                raise SpecificationError(_pointer(name), detail)
            if array.shape != expected[name]:
                detail = f"has shape {array.shape} where {expected[name]} is expected"
                raise SpecificationError(_pointer(name), detail)
            if not np.all(np.abs(array) <= largest(dtype)):
                raise SpecificationError(_pointer(name), f"has a number that no {dtype} can hold")

    def weights(self, model: Model, shape: Shape, dtype: DType, seed: int) -> Weights:
        """Copies in the fit's dtype and the model's order, whatever the seed."""
        names = model.weight_shapes(shape)
        return {name: self.given[name].astype(numpy_dtype(dtype)) for name in names}


@dataclass(frozen=True, slots=True)
class CarriedInit:
    """The weights of another fit, which come beside the specification.

    With the `optimizer_state` the fit goes on as that one would have.
    """

    optimizer_state: bool

    def check(self, model: Model, shape: Shape, dtype: DType) -> None:
        """Nothing to refuse before the weights are there."""

    def weights(self, model: Model, shape: Shape, dtype: DType, seed: int) -> Weights:
        """Raise ValueError: they are not in the specification."""
        raise ValueError("the other fit's weights must come beside the specification")


Init = DefaultInit | SchemeInit | GivenInit | CarriedInit


def init_from_mapping(mapping: Mapping[str, Any]) -> Init:
    """The start that a resolved object says; raises SpecificationError for an unknown kind."""
    if "weights" in mapping:
        return GivenInit.from_mapping(mapping["weights"])
    if "fit" in mapping:
        return CarriedInit(mapping["optimizer_state"])
    if mapping["kind"] == "default":
        return DefaultInit()
    arguments = {name: value for name, value in mapping.items() if name != "kind"}
    return SchemeInit(mapping["kind"], arguments)


def _array(name: str, values: Any) -> NDArray[np.float64]:
    try:
        return np.array(values, np.float64)
    except (TypeError, ValueError) as error:
        detail = "is no vector or matrix of numbers; its rows must have one length"
        raise SpecificationError(_pointer(name), detail) from error


def _pointer(name: str) -> str:
    return "/init/weights/" + name.replace("~", "~0").replace("/", "~1")
