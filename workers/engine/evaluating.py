"""The loss of given weights, and its gradient, outside of any fit."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from workers.engine import spectral
from workers.engine.batches import cut_batches
from workers.engine.data import Data, RowSource, Shape
from workers.engine.dtypes import Weights
from workers.engine.fitting import STRATEGIES
from workers.engine.initialization import GivenInit
from workers.engine.models import Model
from workers.engine.networks import Mlp
from workers.engine.normal_equations import Layer
from workers.engine.objective import Objective
from workers.engine.outputs import check_outputs
from workers.engine.planner import choose_strategy, covering_strategies
from workers.engine.rows import Part, tensors
from workers.engine.snapshot import Start
from workers.engine.specification import Specification
from workers.engine.splitting import Split
from workers.engine.standardize import Scaling, scaled
from workers.engine.threads import threads_for, torch_threads

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


def loss_over(
    spec: Specification,
    weights: Arrays,
    rows: RowSource,
    scaling: Scaling | None = None,
    *,
    ran: str | None = None,
) -> float:
    """The mean loss, the penalty included, over all rows: as `final_loss` is of training rows.

    `rows` have their features in their own units, `weights` belong to the scaled ones. The
    strategy that `ran`, or would, sums it, so that over a fit's training rows it is `final_loss`
    to the bit. Raises SpecificationError where the weights are not the model's for such rows.
    """
    check_outputs(spec.loss, spec.model.n_outputs(rows.shape), rows.shape)
    GivenInit({n: np.asarray(w, float) for n, w in weights.items()}).check(
        spec.model, rows.shape, spec.dtype
    )
    own = Split(rows if scaling is None else scaled(Split(rows), scaling).train)
    strategy = _strategy_for(spec, rows, ran)
    if strategy in ("spectral", "normal"):
        return spectral.loss_over(spec, own.train, Layer.of(dict(weights)))
    # No step is made, on any device; but the rows may be too few for the fit's own batches.
    idle = replace(spec, epochs=None, steps=1, drop_last=False, device="cpu")
    start = Start({name: np.asarray(array) for name, array in weights.items()})
    batches = cut_batches(idle, rows.shape.n_rows)
    return STRATEGIES[strategy](idle, own, batches, start).final_loss()


def _strategy_for(spec: Specification, rows: RowSource, ran: str | None) -> str:
    in_memory = isinstance(rows, Data)
    covering = covering_strategies(spec, rows.shape, in_memory=in_memory)
    if ran in covering:
        return str(ran)
    # What a fit of few rows was forced to may not be there for more of them than memory holds.
    asked = spec if spec.strategy in covering else replace(spec, strategy="auto")
    return choose_strategy(asked, rows.shape, in_memory=in_memory)


def check_gradients(spec: Specification, weights: Arrays, data: Data) -> GradientCheck:
    """The gradient of one full-batch training step, twice, both in float64.

    A batch norm takes the batch's own mean and variance, as it does in training; dropout is
    nobody's gradient, and is left out.
    """
    model = _training_model(spec.model, weights, data.shape)
    objective = Objective(model, spec.loss, spec.penalty)
    rows = tensors(data, "float64")
    parameters = dict(model.named_parameters())
    n_weights = sum(p.numel() for p in parameters.values() if p.ndim > 1)
    with torch_threads(threads_for(len(data.x) * n_weights)):
        loss = objective.mean(_once(rows))
        gradients = {n: p.grad.numpy().copy() for n, p in parameters.items() if p.grad is not None}
        numerical: Weights = {}
        with torch.no_grad():
            numerical |= {n: _differences(p, objective, rows) for n, p in parameters.items()}
    errors = [_relative(gradients[n], numerical[n], loss) for n in gradients]
    return GradientCheck(loss, gradients, numerical, float(np.max(errors)))


def _training_model(model: Model, weights: Arrays, shape: Shape) -> nn.Module:
    """The model in float64 as a step trains it, but that nothing is drawn or kept."""
    if isinstance(model, Mlp):
        model = replace(model, dropout=0.0)
    module = model.module(shape, torch.float64)
    state = {n: torch.tensor(w, dtype=torch.float64) for n, w in weights.items()}
    # A batch norm's count of batches is no weight.
    module.load_state_dict(state, strict="norms.0.bias" not in state)
    for norm in (part for part in module.modules() if isinstance(part, nn.BatchNorm1d)):
        # What many evaluations in a row see must not be kept.
        norm.track_running_stats = False
    return module


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
