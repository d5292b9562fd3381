"""The compiled algebra of linear least squares: from the moments of rows to their spectrum.

See `workers.engine.spectrum` for what it means.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workers.engine import jacobi_loops
from workers.engine.compiled import compiled_to_the_letter, internal_to_the_letter

Floats = NDArray[np.float64]

EPS = float(np.finfo(np.float64).eps)
TINY = float(np.finfo(np.float64).tiny)
# What sums of products and their decompositions are off by, beside the largest number.
ROUNDING = 8 * EPS
# What an eigenvalue of a correlation matrix, a singular value of R or a correlation with the
# residuals may come out as instead of 0.
NOISE = 512 * EPS
# Below this share of the first loss, the smallest one is told too badly by a difference of sums.
LEAST_SHARE = 1e-3
_REST_ROUNDING = 64 * EPS


class Factor(NamedTuple):
    """The loss around a layer's own weights: rest + ‖matrix·(w - w₀) + offset‖²/k.

    matrix (m, p), of p coefficients, the bias last; offset (m, k). `smallest` is the smallest
    eigenvalue of the features' correlations beside the largest, but for those of 0, and `stray`
    the largest correlation of a residual with a combination of features that has no variance.
    `n_centred` combinations have one, and `least_variance` is that of a feature.
    """

    matrix: Floats
    offset: Floats
    rest: float
    smallest: float
    stray: float
    n_centred: int
    least_variance: float


class Spectrum(NamedTuple):
    """The loss in its own coordinates: rest + Σ(pull + scale·place)²/k, place = basisᵀ(w - w₀).

    basis (p, p), a column a coordinate; scale (p,), 0 or more; pull (k, p). The Hessian's
    eigenvalues are 2/k·scale².
    """

    basis: Floats
    scale: Floats
    pull: Floats
    rest: float


class _Centred(NamedTuple):
    """The features and residuals around their means, as `Factor`; `rest` is of all targets.

    `largest` is what no eigenvalue of their covariance is above.
    """

    matrix: Floats
    offset: Floats
    rest: float
    smallest: float
    stray: float
    largest: float


@compiled_to_the_letter
def factored(
    mean: Floats, covariance: Floats, weight: Floats, has_bias: bool, l2: float
) -> tuple[bool, Factor]:
    """The loss, l2 penalty included, of a layer on rows whose moments its residuals have.

    mean (d + k,) and covariance (d + k, d + k) of [x, ŷ - y]; weight (k, d), or more that is not
    looked at in a row. False beside a factor that means nothing, where a number would not be
    finite.
    """
    n_targets = len(weight)
    n_features = len(mean) - n_targets
    width = n_features + 1 if has_bias else n_features
    finite = _are_finite(mean) and _are_finite(covariance)
    if finite:
        correlations, std = _correlations(mean, covariance, n_features)
        finite = _are_finite(correlations)
    if not finite:
        return False, Factor(np.zeros((0, width)), np.zeros((0, n_targets)), 0.0, 0.0, 0.0, 0, 0.0)
    centred = _centred(correlations, std, covariance)
    n_centred = len(centred.matrix)
    n_penalties = n_features if l2 != 0.0 else 0
    matrix = np.zeros((n_centred + 1 + n_penalties, width))
    offset = np.zeros((len(matrix), n_targets))
    put(centred.matrix, matrix)
    put(centred.offset, offset)
    for i in range(n_features):
        matrix[n_centred, i] = mean[i]
    if has_bias:
        matrix[n_centred, n_features] = 1.0
    for target in range(n_targets):
        offset[n_centred, target] = mean[n_features + target]
    penalty = np.sqrt(l2 * n_targets)
    for i in range(n_penalties):
        matrix[n_centred + 1 + i, i] = penalty
        for target in range(n_targets):
            offset[n_centred + 1 + i, target] = penalty * weight[target, i]
    finite = _are_finite(matrix) and _are_finite(offset)
    smallest = centred.smallest + penalty**2 / centred.largest
    least = covariance[0, 0]
    for i in range(n_features):
        least = min(least, covariance[i, i])
    rest = centred.rest / n_targets
    return finite, Factor(matrix, offset, rest, smallest, centred.stray, n_centred, least)


@compiled_to_the_letter
def decomposed(found: Factor) -> Spectrum:
    """The loss in the coordinates of its own Hessian."""
    n_rows, width = found.matrix.shape
    n_targets = found.offset.shape[1]
    matrix, offset = found.matrix, found.offset
    if n_rows < width:
        # As many rows as coordinates at least, so that each of these has its place.
        matrix, offset = np.zeros((width, width)), np.zeros((width, n_targets))
        put(found.matrix, matrix)
        put(found.offset, offset)
    left, scale, basis = _singular_values(matrix)
    pull, missed = np.zeros((n_targets, width)), 0.0
    for target in range(n_targets):
        for i in range(width):
            for row in range(len(matrix)):
                pull[target, i] += left[row, i] * offset[row, target]
        for row in range(len(matrix)):
            rest = offset[row, target]
            for i in range(width):
                rest -= left[row, i] * pull[target, i]
            missed += rest * rest
    for i in range(width):
        if scale[i] <= NOISE * scale[0]:
            scale[i] = 0.0
    return Spectrum(basis, scale, pull, found.rest + missed / n_targets)


@internal_to_the_letter
def put(part: Floats, whole: Floats) -> None:
    """Into the beginning of the rows; an assignment would compile numba's errors of shapes."""
    for i in range(part.shape[0]):
        for j in range(part.shape[1]):
            whole[i, j] = part[i, j]


@internal_to_the_letter
def _are_finite(numbers: Floats) -> bool:
    finite = True
    for number in numbers.flat:
        finite = finite and math.isfinite(number)
    return finite


@compiled_to_the_letter
def _singular_values(matrix: Floats) -> tuple[Floats, Floats, Floats]:
    """left (m, p), scale (p,), the largest first, and basis (p, p), a column a coordinate."""
    if matrix.shape[1] <= jacobi_loops.MOST_COLUMNS:
        return jacobi_loops.singular_values(matrix)
    left, scale, basis = np.linalg.svd(matrix, False)
    return np.ascontiguousarray(left), scale, np.ascontiguousarray(basis.T)


@compiled_to_the_letter
def is_safe_factor(found: Factor, tolerated: float) -> bool:
    """Whether the squares of the data tell what the data do.

    An eigenvalue of a correlation matrix is rounded by some bits of the largest one: of the small
    ones few digits are left. One of 0 is harmless, but only where no residual depends on what has
    no variance: else it was a small one. `tolerated` is the largest relative error of an
    eigenvalue.
    """
    return found.smallest >= ROUNDING / tolerated and found.stray <= NOISE


@compiled_to_the_letter
def is_safe_spectrum(found: Spectrum, tolerated: float) -> bool:
    """Whether each scale, but for those of 0, has the digits that a fit must have.

    A singular value is rounded by some bits of the largest one, and an eigenvalue of the Hessian
    is a square: twice as far off.
    """
    smallest = 0.0
    for i in range(len(found.scale)):
        if found.scale[i] > 0.0:
            smallest = float(found.scale[i])
    return smallest == 0.0 or bool(smallest >= 2 * ROUNDING / tolerated * found.scale[0])


@compiled_to_the_letter
def loss_at(found: Spectrum, place: Floats) -> float:
    """The loss at a place (k, p)."""
    n_targets, width = place.shape
    squares = 0.0
    for target in range(n_targets):
        for i in range(width):
            pull = found.pull[target, i] + found.scale[i] * place[target, i]
            squares += pull * pull
    return float(found.rest + squares / n_targets)


@compiled_to_the_letter
def best_place(found: Spectrum) -> Floats:
    """The place (k, p) of the smallest loss; coordinates of no effect stay at 0."""
    place = np.zeros_like(found.pull)
    for target in range(len(place)):
        for i in range(len(found.scale)):
            if found.scale[i] > 0.0:
                place[target, i] = -found.pull[target, i] / found.scale[i]
    return place


@compiled_to_the_letter
def moved(found: Spectrum, coefficients: Floats, place: Floats) -> Floats:
    """The coefficients (k, p) at a place (k, p) around these ones."""
    return coefficients + place @ np.ascontiguousarray(found.basis.T)


@compiled_to_the_letter
def flat_loss(found: Spectrum) -> float:
    """What coordinates of no effect have of the loss, beside the rest."""
    flat = 0.0
    for target in range(len(found.pull)):
        for i in range(len(found.scale)):
            if found.scale[i] == 0.0:
                flat += found.pull[target, i] ** 2
    return flat / len(found.pull)


@compiled_to_the_letter
def better_rest(found: Spectrum, loss: float, best_loss: float) -> float:
    """What no weights change, from the loss at the best of them as a pass of its own told it.

    The first pass told it as the small difference of two large losses; `loss` is that at w₀.
    """
    rest = max(0.0, best_loss - flat_loss(found))
    # Where the best weights are far away, that they are rounded is seen more than it is here.
    return rest if rest <= found.rest + _REST_ROUNDING * loss else found.rest


@compiled_to_the_letter
def _correlations(mean: Floats, covariance: Floats, n_features: int) -> tuple[Floats, Floats]:
    """Those of the features, and their standard deviations, 0 for a constant column."""
    std = np.empty(n_features)
    for i in range(n_features):
        std[i] = np.sqrt(covariance[i, i])
        # A constant column's variance is the rounding of its mean.
        if std[i] <= NOISE * abs(mean[i]):
            std[i] = 0.0
    correlations = np.zeros((n_features, n_features))
    for i in range(n_features):
        for j in range(n_features):
            if std[i] > 0.0 and std[j] > 0.0:
                correlations[i, j] = covariance[i, j] / std[i] / std[j]
    return correlations, std


@compiled_to_the_letter
def _eigenvalues(correlations: Floats) -> tuple[Floats, Floats]:
    """The smallest first; of one feature it is what stands there."""
    if len(correlations) == 1:
        return correlations[0].copy(), np.ones((1, 1))
    values, vectors = np.linalg.eigh(correlations)
    return values, np.ascontiguousarray(vectors)


@compiled_to_the_letter
def _turned(vectors: Floats, scaled: Floats) -> Floats:
    """vectorsᵀ·scaled."""
    turned = np.zeros_like(scaled)
    for j in range(len(scaled)):
        for i in range(len(scaled)):
            for target in range(scaled.shape[1]):
                turned[i, target] += vectors[j, i] * scaled[j, target]
    return turned


@internal_to_the_letter
def _scaled(std: Floats, covariance: Floats) -> Floats:
    """The covariances of the features with the residuals, by the features' deviations."""
    n_features, n_targets = len(std), len(covariance) - len(std)
    scaled = np.zeros((n_features, n_targets))
    for i in range(n_features):
        for target in range(n_targets if std[i] > 0.0 else 0):
            scaled[i, target] = covariance[i, n_features + target] / std[i]
    return scaled


@internal_to_the_letter
def _largest_square(numbers: Floats) -> float:
    largest = 0.0
    for number in numbers:
        largest = max(largest, number * number)
    return largest


@compiled_to_the_letter
def _centred(correlations: Floats, std: Floats, covariance: Floats) -> _Centred:
    n_features, n_targets = len(std), len(covariance) - len(std)
    values, vectors = _eigenvalues(correlations)
    turned = _turned(vectors, _scaled(std, covariance))
    first = 0
    while first < n_features and not values[first] > NOISE * values[-1]:
        first += 1
    n_kept = n_features - first
    matrix = np.empty((n_kept, n_features))
    offset = np.empty((n_kept, n_targets))
    for i in range(n_kept):
        root = np.sqrt(values[first + i])
        for j in range(n_features):
            matrix[i, j] = root * vectors[j, first + i] * std[j]
        for target in range(n_targets):
            offset[i, target] = turned[first + i, target] / root
    rest, stray = 0.0, 0.0
    for target in range(n_targets):
        variance = covariance[n_features + target, n_features + target]
        spread = np.sqrt(variance)
        for i in range(n_kept):
            variance -= offset[i, target] ** 2
        rest += max(variance, 0.0)
        for i in range(first):
            if spread > 0.0:
                stray = max(stray, abs(turned[i, target]) / spread)
    smallest = values[first] / values[-1] if n_kept else 1.0
    largest = max(values[-1] * _largest_square(std), TINY)
    return _Centred(matrix, offset, rest, smallest, stray, largest)
