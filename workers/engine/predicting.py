"""A fitted model's numbers for new rows."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from workers.engine.data import Shape
from workers.engine.models import Model


@torch.no_grad()
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
    module = model.module(shape, torch.float64)
    state = {name: torch.tensor(array, dtype=torch.float64) for name, array in weights.items()}
    module.load_state_dict(state, strict="norms.0.bias" not in state)
    outputs: NDArray[np.float64] = module.eval()(torch.tensor(x)).numpy()
    return outputs
