"""Another fit, as the start of a new one."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from service.errors import Place
from service.named_arrays import unpack
from service.schemas.common import Schema
from service.weight_shapes import Shapes


@dataclass(frozen=True)
class Origin:
    """The other fit's resolved spec, and its weights and inner state as safetensors files."""

    spec: Mapping[str, Any]
    weights: bytes
    state: bytes | None

    @property
    def n_bytes(self) -> int:
        """Of both files."""
        return len(self.weights) + len(self.state or b"")

    @property
    def shapes(self) -> Shapes:
        """The shape of every weight by its state_dict name."""
        arrays = unpack(self.weights)
        return {name: array.shape for name, array in arrays.items()}


def origin_places(origin: Origin, optimizer: Schema, expected: Shapes) -> list[Place]:
    """What keeps a new fit of this optimizer and these weights' shapes from starting there."""
    places = []
    found = origin.shapes
    if found != expected:
        detail = f"its weights are {_listed(found)}; the model needs {_listed(expected)}"
        places.append(Place("wrong_shape", detail, "/init/fit"))
    arguments = optimizer.model_dump(mode="json") | {"lr": None}
    if origin.state is not None and arguments != origin.spec["optimizer"] | {"lr": None}:
        detail = "the other fit's optimizer had other arguments: only its lr may change"
        places.append(Place("other_optimizer", detail, "/init/optimizer_state"))
    return places


def _listed(shapes: Shapes) -> str:
    shown = [f"{name} {'×'.join(map(str, shape))}" for name, shape in shapes.items()]
    n_parameters = sum(math.prod(shape) for shape in shapes.values())
    return f"{', '.join(shown[:8])} ({n_parameters} numbers)"
