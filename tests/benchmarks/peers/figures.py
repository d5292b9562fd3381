"""What a peer's fits came to, in few enough numbers to be handed over and compared."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.workloads import Floats, Job

_MOST_LOSSES = 11


@dataclass(frozen=True, eq=False)
class Fitted:
    """weights: (m, p), a row a fit, one parameter after the other in the model's order.

    losses: (m, t) before each of t updates, None of a peer that keeps no such history.
    strategies: the engine's, where it is the engine.
    """

    weights: NDArray[Any]
    losses: NDArray[Any] | None
    strategies: list[str]


def figures(jobs: list[Job], fitted: Fitted) -> dict[str, Any]:
    """All weights, some evenly kept losses, and every fit's loss over its whole table."""
    losses = fitted.losses
    if losses is not None:
        n_steps = losses.shape[1]
        kept = np.unique(np.linspace(0, n_steps - 1, min(_MOST_LOSSES, n_steps)).astype(int))
        losses = losses[:, kept]
    pairs = zip(jobs, fitted.weights, strict=True)
    return {
        "weights": fitted.weights.tolist(),
        "losses": None if losses is None else losses.tolist(),
        "final_losses": [_loss(job, weights) for job, weights in pairs],
        "strategies": fitted.strategies,
    }


def _loss(job: Job, weights: Floats) -> float:
    """The mean loss over all rows, in float64, whichever peer the weights are from."""
    shapes = [array.shape for array in job.init.values()]
    ends = np.cumsum([np.prod(shape) for shape in shapes])
    parts = np.split(weights.astype(np.float64), ends[:-1])
    arrays = [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
    *hidden, (weight, bias) = zip(arrays[::2], arrays[1::2], strict=True)
    x = job.x
    for layer_weight, layer_bias in hidden:
        x = _ACTIVATIONS[job.spec["model"]["activation"]](x @ layer_weight.T + layer_bias)
    answers = x @ weight.T + bias
    if job.n_classes is None:
        return float(np.mean((job.y - answers) ** 2))
    answers -= answers.max(axis=1, keepdims=True)
    scores = np.take_along_axis(answers, job.y.astype(int), axis=1)[:, 0]
    return float(np.mean(np.log(np.exp(answers).sum(axis=1)) - scores))


def _relu(z: Floats) -> Floats:
    return np.maximum(z, 0)


_ACTIVATIONS: dict[str, Callable[[Floats], Floats]] = {"relu": _relu, "tanh": np.tanh}
