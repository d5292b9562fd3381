"""Linear least squares in closed form: what its descents are measured by."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.engine.data import RowSource, Shape
from workers.engine.losses import Mse
from workers.engine.models import Linear, Polynomial
from workers.engine.small_tables import is_small
from workers.engine.specification import Specification
from workers.engine.spectrum import Squares
from workers.engine.triangle import has_bias, triangle_of

Floats = NDArray[np.float64]

# Features, bias and targets together. Memory goes with their square, time with their cube.
_MOST_COLUMNS = 2_048
_SHRUNK = 1e-6
# Past it a float64 no longer counts step by step.
_MOST_STEPS = 2**53
# Rounding in R does not grow with the rows past some thousands of them.
_MOST_NOISY_ROWS = 65_536


@dataclass(frozen=True, slots=True, eq=False)
class LeastSquares:
    """The optimum of a linear least-squares loss, and the curvature around it.

    `weights`: `weight` (k, d) and, where there is one, `bias` (k,), float64, of the features as
    they were given; where several are best, those of the smallest Euclidean norm. `loss`: the mean
    loss and the penalty there. `distance`: from there to some other weights, Euclidean, over all
    parameters.

    The others belong to the loss's Hessian. Its eigenvalues are 0 or more; λ stands for those that
    are not 0 but for rounding. `condition_number`: the largest over the smallest, infinite where
    one is 0. `max_stable_lr`: 2/λmax, from which on plain gradient descent does not converge.
    `best_constant_lr`: 2/(λmin + λmax). `steps_to_1e_6`: the smallest t with |1 - lr·λ|ᵗ ≤ 1e-6
    for each λ: so many plain steps at the specification's own constant lr bring any weights a
    million times nearer to the closest optimum; None where that rate is not stable, or t is past
    2⁵³.
    """

    weights: dict[str, Floats]
    loss: float
    distance: float
    condition_number: float
    max_stable_lr: float
    best_constant_lr: float
    steps_to_1e_6: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Optimum:
    """What `LeastSquares` says of the rows alone, whichever fit is made on them.

    `smallest`, `largest`: of the λ.
    """

    weights: dict[str, Floats]
    loss: float
    condition_number: float
    max_stable_lr: float
    best_constant_lr: float
    smallest: float
    largest: float

    def beside(
        self, spec: Specification, weights: Mapping[str, NDArray[Any]]
    ) -> LeastSquares | None:
        """The optimum as a fit's weights, by their state_dict names, and its rate see it."""
        distance = _distance(self.weights, weights)
        if not math.isfinite(distance):
            return None
        return LeastSquares(
            weights=self.weights,
            loss=self.loss,
            distance=distance,
            condition_number=self.condition_number,
            max_stable_lr=self.max_stable_lr,
            best_constant_lr=self.best_constant_lr,
            steps_to_1e_6=_steps(spec.optimizer.lr, self.smallest, self.largest),
        )


def least_squares(
    spec: Specification,
    rows: RowSource,
    weights: Mapping[str, NDArray[Any]],
    squares: Squares | None = None,
) -> LeastSquares | None:
    """What the closed form tells of a fit, whatever its optimizer; all of it in float64.

    `weights` are the weights whose distance is asked for, by their state_dict names. For the rest,
    and for where there is None, see `optimum`; None too where a number would not be finite.
    """
    found = optimum(spec, rows, squares)
    return None if found is None else found.beside(spec, weights)


def optimum(spec: Specification, rows: RowSource, squares: Squares | None = None) -> Optimum | None:
    """The closed form of the rows, whatever the optimizer; all of it in float64.

    `rows` are the training rows as they are descended on: features scaled where the specification
    standardizes. They are read block by block, unless the fit left its `squares`: once, and once
    more where their squares would lose digits. Of a small table they are read anyway, so that all
    its fits have one optimum. The loss has the mean squared error, over rows by their weights and
    over targets, and the l2 penalty; an optimizer's weight decay is no part of it.

    None where the specification is not of linear least squares, where features and targets are
    more than 2,047 together (2,048 without a bias), where no row counts, and where a number would
    not be finite.
    """
    if not _is_covered(spec, rows.shape):
        return None
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        triangle = triangle_of(spec, rows, None if is_small(rows.shape) else squares)
        if not np.isfinite(triangle).all():
            return None
        return _measured(rows.shape, triangle)


def _is_covered(spec: Specification, shape: Shape) -> bool:
    # Their subclasses' outputs are scores of classes.
    linear = type(spec.model) in (Linear, Polynomial) and type(spec.loss) is Mse
    n_columns = shape.n_features + has_bias(spec) + shape.n_targets
    return linear and spec.penalty.l1 == 0 and n_columns <= _MOST_COLUMNS


def _measured(shape: Shape, triangle: Floats) -> Optimum | None:
    n_targets = shape.n_targets
    size = len(triangle) - n_targets
    noise = np.finfo(np.float64).eps * max(size, min(shape.n_rows, _MOST_NOISY_ROWS))
    eigenvalues = 2 / n_targets * np.linalg.svd(triangle[:size, :size], compute_uv=False) ** 2
    signal = eigenvalues[eigenvalues > noise**2 * eigenvalues[0]]
    if not len(signal):
        return None
    best = _solved(triangle[:size, :size], triangle[:size, size:], noise)
    residual = triangle @ np.vstack([best, -np.eye(n_targets)])
    largest, smallest = float(signal[0]), float(signal[-1])
    found = Optimum(
        weights=_named(best, shape.n_features),
        loss=float((residual**2).sum() / n_targets),
        condition_number=largest / smallest if len(signal) == size else math.inf,
        max_stable_lr=2 / largest,
        best_constant_lr=2 / (smallest + largest),
        smallest=smallest,
        largest=largest,
    )
    return found if math.isfinite(found.loss) and math.isfinite(found.max_stable_lr) else None


def _solved(left: Floats, right: Floats, noise: float) -> Floats:
    """The shortest θ (p, k) that brings left·θ nearest to right.

    What has a rank is judged, as in numpy.linalg.lstsq, by singular values beside the largest one,
    but with columns that were brought to one scale: in units of its own, no feature is too small.
    """
    scale = np.abs(left).max(axis=0)
    scale[scale == 0] = 1
    u, values, vt = np.linalg.svd(left / scale)
    rank = int((values > noise * values[0]).sum())
    best: Floats = vt[:rank].T @ (u[:, :rank].T @ right / values[:rank, None]) / scale[:, None]
    if rank < len(left):
        kernel = np.linalg.qr(vt[rank:].T / scale[:, None])[0]
        best = best - kernel @ (kernel.T @ best)
    return best


def _steps(lr: float, smallest: float, largest: float) -> int | None:
    """The smallest t with |1 - lr·λ|ᵗ ≤ 1e-6 for all λ from the smallest to the largest."""
    # A small lr·λ would be lost beside 1.
    gap = min(lr * smallest, 2 - lr * largest)
    if not gap > 0:
        return None
    if gap == 1:
        return 1
    steps = math.log(_SHRUNK) / math.log1p(-gap)
    return math.ceil(steps) if steps < _MOST_STEPS else None


def _named(columns: Floats, n_features: int) -> dict[str, Floats]:
    weights = {"weight": np.ascontiguousarray(columns[:n_features].T)}
    return weights | {"bias": columns[-1]} if len(columns) > n_features else weights


def _distance(weights: Mapping[str, NDArray[Any]], others: Mapping[str, NDArray[Any]]) -> float:
    """The Euclidean distance of two layers, of numbers whose squares overflow too."""
    pairs = zip(_rows(weights), _rows(others), strict=True)
    return math.hypot(*(math.dist(one.tolist(), other.tolist()) for one, other in pairs))


def _rows(weights: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
    """The weights target by target, and the biases if any."""
    return [*weights["weight"], *([weights["bias"]] if "bias" in weights else [])]
