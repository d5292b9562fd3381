"""The loss of given weights, and its gradient, outside of any fit."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from workers.engine.data import Data, RowSource, Shape, blocks
from workers.engine.dtypes import Weights, torch_dtype
from workers.engine.objective import Objective
from workers.engine.rows import Part, tensors
from workers.engine.specification import Specification

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class GradientCheck:
    """A loss's gradient by torch's autograd beside its central differences, by parameters' names.

    `max_relative_error` is the largest |a - b| / max(|a|, |b|, 10⁻⁴·max(1, |loss|)) of their
    entries: what is smaller than that floor, differences of losses cannot tell.
    """

    loss: float
    gradients: Weights
    numerical: Weights
    max_relative_error: float


@torch.no_grad()
def loss_over(spec: Specification, weights: Arrays, rows: RowSource) -> float:
    """The mean loss, the penalty included, over all rows: as `final_loss` is of training rows.

    In the fit's dtype, without dropout; `rows` have their features scaled already.
    """
    model = _model(spec, weights, rows.shape)
    parts = (tensors(block, spec.dtype) for _, block in blocks(rows))
    return Objective(model.eval(), spec.loss, spec.penalty).mean(parts)


def check_gradients(spec: Specification, weights: Arrays, data: Data) -> GradientCheck:
    """The gradient of one full-batch training step, twice, both in float64.

    A batch norm takes the batch's own mean and variance, as it does in training; dropout is
    nobody's gradient, and is left out.
    """
    exact = replace(spec, dtype="float64")
    model = _model(exact, weights, data.shape)
    for norm in (module for module in model.modules() if isinstance(module, nn.BatchNorm1d)):
        # What the many evaluations below see must not be kept.
        norm.track_running_stats = False
    objective = Objective(model, exact.loss, exact.penalty)
    rows = tensors(data, "float64")
    loss = objective.mean(_once(rows))
    parameters = dict(model.named_parameters())
    gradients = {n: p.grad.numpy().copy() for n, p in parameters.items() if p.grad is not None}
    numerical: Weights = {}
    with torch.no_grad():
        numerical |= {n: _differences(p, objective, rows) for n, p in parameters.items()}
    error = max(_relative(gradients[n], numerical[n], loss) for n in gradients)
    return GradientCheck(loss, gradients, numerical, error)


def _model(spec: Specification, weights: Arrays, shape: Shape) -> nn.Module:
    model = spec.model.module(shape, torch_dtype(spec.dtype))
    state = {n: torch.tensor(w, dtype=torch_dtype(spec.dtype)) for n, w in weights.items()}
    # A batch norm's count of batches is no weight.
    model.load_state_dict(state, strict="norms.0.bias" not in state)
    return model


def _once(rows: Part) -> Iterator[Part]:
    yield rows


def _differences(parameter: nn.Parameter, objective: Objective, rows: Part) -> NDArray[np.float64]:
    """(f(w + h) - f(w - h)) / 2h for each entry; h is the cube root of the precision times |w|.

    That step balances rounding and curvature: Press et al., Numerical Recipes, section 5.7.
    """
    flat = parameter.view(-1)
    found = np.empty(len(flat))
    for i in range(len(flat)):
        at = float(flat[i])
        step = np.cbrt(np.finfo(np.float64).eps) * max(1.0, abs(at))
        losses = []
        for side in (at + step, at - step):
            flat[i] = side
            losses.append(objective.mean(_once(rows)))
        flat[i] = at
        found[i] = (losses[0] - losses[1]) / ((at + step) - (at - step))
    return found.reshape(parameter.shape)


def _relative(a: NDArray[Any], b: NDArray[Any], loss: float) -> float:
    floor = 1e-4 * max(1.0, abs(loss))
    return float((np.abs(a - b) / np.maximum(np.maximum(np.abs(a), np.abs(b)), floor)).max())
