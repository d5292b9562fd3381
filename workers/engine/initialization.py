"""The weights that a fit starts from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from workers.engine.data import Shape
from workers.engine.dtypes import DType, largest, numpy_dtype, torch_dtype
from workers.engine.errors import SpecificationError
from workers.engine.models import Model
from workers.engine.results import Weights


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
class ZerosInit:
    """Every weight 0."""

    def check(self, model: Model, shape: Shape, dtype: DType) -> None:
        """Nothing to refuse: zeros follow the model's shapes."""

    def weights(self, model: Model, shape: Shape, dtype: DType, seed: int) -> Weights:
        """Zeros, whatever the seed."""
        shapes = model.weight_shapes(shape)
        return {name: np.zeros(size, numpy_dtype(dtype)) for name, size in shapes.items()}


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


Init = DefaultInit | ZerosInit | GivenInit

NAMED_INITS: dict[str, type[DefaultInit | ZerosInit]] = {
    "default": DefaultInit,
    "zeros": ZerosInit,
}


def _array(name: str, values: Any) -> NDArray[np.float64]:
    try:
        return np.array(values, np.float64)
    except (TypeError, ValueError) as error:
        detail = "is no vector or matrix of numbers; its rows must have one length"
        raise SpecificationError(_pointer(name), detail) from error


def _pointer(name: str) -> str:
    return "/init/weights/" + name.replace("~", "~0").replace("/", "~1")
