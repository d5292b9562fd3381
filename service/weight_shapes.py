"""The shapes of a model's weights."""

import math
from itertools import pairwise

from service.schemas.models import Mlp, Model

Shapes = dict[str, tuple[int, ...]]

_NORM = ("weight", "bias", "running_mean", "running_var")


def weight_shapes(model: Model, n_features: int, n_outputs: int) -> Shapes:
    """The shape of every weight by its state_dict name."""
    if isinstance(model, Mlp):
        return _mlp_shapes(model, [n_features, *model.hidden, n_outputs])
    shapes: Shapes = {"weight": (n_outputs, n_features)}
    return shapes | {"bias": (n_outputs,)} if model.bias else shapes


def count_parameters(shapes: Shapes) -> int:
    """How many numbers are fitted: what a batch norm has seen is none of them."""
    return sum(math.prod(shape) for name, shape in shapes.items() if "running" not in name)


def _mlp_shapes(model: Mlp, widths: list[int]) -> Shapes:
    shapes: Shapes = {}
    for i, (n_in, n_out) in enumerate(pairwise(widths)):
        shapes |= {f"layers.{i}.weight": (n_out, n_in), f"layers.{i}.bias": (n_out,)}
    for i, width in enumerate(model.hidden if model.batch_norm else ()):
        shapes |= {f"norms.{i}.{name}": (width,) for name in _NORM}
    return shapes
