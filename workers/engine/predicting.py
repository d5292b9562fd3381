"""A fitted model's numbers for new rows."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax

from workers.engine.data import Shape
from workers.engine.interrupting import look
from workers.engine.losses import Bce, CrossEntropy, Hinge, Loss, Poisson
from workers.engine.models import Model, layer_widths

# Of a layer, for the rows that pass through it at once.
_MOST_NUMBERS = 2**20


def predict(
    model: Model, shape: Shape, weights: Mapping[str, NDArray[Any]], x: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The outputs (m, k) float64 for rows x (m, d), computed in float64: numbers, or scores.

    `weights` are by their state_dict names; `shape` is the data's that they were fitted to.
    """
    if "weight" in weights:
        # One layer: small fits pass through this, and a torch module costs more than they do.
        predicted: NDArray[np.float64] = x @ weights["weight"].astype(np.float64).T
        return predicted + weights["bias"] if "bias" in weights else predicted
    return _by_module(model, shape, weights, x)


@torch.no_grad()
def _by_module(
    model: Model, shape: Shape, weights: Mapping[str, NDArray[Any]], x: NDArray[np.float64]
) -> NDArray[np.float64]:
    module = model.module(shape, torch.float64)
    state = {name: torch.tensor(array, dtype=torch.float64) for name, array in weights.items()}
    module.load_state_dict(state, strict="norms.0.bias" not in state)
    module.eval()
    most_rows = max(1, _MOST_NUMBERS // max(layer_widths(model, shape)))
    parts = []
    # Of no rows there are no outputs, in as many columns.
    for first in range(0, max(1, len(x)), most_rows):
        if first:
            look()
        parts.append(module(torch.tensor(x[first : first + most_rows])).numpy())
    return np.concatenate(parts)


def answers(loss: Loss, outputs: NDArray[np.float64]) -> NDArray[np.float64]:
    """What outputs (m, k) say of the targets: numbers (m, k), or the places of classes (m, 1)."""
    if isinstance(loss, Poisson):
        with np.errstate(over="ignore"):
            rates: NDArray[np.float64] = np.exp(outputs)
        return rates
    if isinstance(loss, Bce | Hinge):
        return (outputs > 0).astype(np.float64)
    if isinstance(loss, CrossEntropy):
        places: NDArray[np.float64] = outputs.argmax(axis=1, keepdims=True).astype(np.float64)
        return places
    return outputs


def probabilities(loss: Loss, outputs: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """How likely each class is (m, c), by sigmoid or softmax; None where the loss has no such."""
    if isinstance(loss, Bce):
        outputs = np.column_stack([np.zeros(len(outputs)), outputs])
    elif not isinstance(loss, CrossEntropy):
        return None
    likely: NDArray[np.float64] = softmax(outputs, axis=1)
    return likely
