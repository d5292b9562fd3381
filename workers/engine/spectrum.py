"""Linear least squares in the coordinates that a full-batch descent moves one by one.

Around weights w₀ the loss is rest + ‖R·(w - w₀) + q‖²/k. With R = UΣVᵀ the gradient by a
coordinate of Vᵀ(w - w₀) depends on that coordinate alone. R has a row for the means of the
features, which are never squared, and for the rest of the moments rows of their own: what it loses
to rounding follows from how correlated the features are, not from where their origin lies.
"""

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workers.engine.dtypes import DType
from workers.engine.normal_equations import Layer, Moments
from workers.engine.threads import one_blas_thread

Floats = NDArray[np.float64]

_EPS = float(np.finfo(np.float64).eps)
# What sums of products and their decompositions are off by, beside the largest number.
_ROUNDING = 8 * _EPS
# What an eigenvalue of a correlation matrix, a singular value of R or a correlation with the
# residuals may come out as instead of 0.
_NOISE = 512 * _EPS
# The largest relative error of an eigenvalue of the Hessian, and so of what is descended with it.
_TOLERATED: dict[DType, float] = {"float64": 1e-9, "float32": 1e-5}


@dataclass(frozen=True, slots=True, eq=False)
class Factor:
    """The loss around a layer's own weights: rest + ‖matrix·(w - w₀) + offset‖²/k.

    matrix (m, p), of p coefficients, the bias last; offset (m, k). `smallest` is the smallest
    eigenvalue of the features' correlations beside the largest, but for those of 0, and `stray`
    the largest correlation of a residual with a combination of features that has no variance.
    """

    matrix: Floats
    offset: Floats
    rest: float
    smallest: float
    stray: float

    def is_safe(self, dtype: DType) -> bool:
        """Whether the squares of the data tell what the data do.

        An eigenvalue of a correlation matrix is rounded by some bits of the largest one: of the
        small ones few digits are left. One of 0 is harmless, but only where no residual depends on
        what has no variance: else it was a small one.
        """
        return self.smallest >= _ROUNDING / _TOLERATED[dtype] and self.stray <= _NOISE


@dataclass(frozen=True, slots=True, eq=False)
class Spectrum:
    """The loss in its own coordinates: rest + Σ(pull + scale·place)²/k, place = basisᵀ(w - w₀).

    basis (p, p), a column a coordinate; scale (p,), 0 or more; pull (k, p). The Hessian's
    eigenvalues are 2/k·scale².
    """

    basis: Floats
    scale: Floats
    pull: Floats
    rest: float

    def loss_at(self, place: Floats) -> float:
        """The loss at a place (k, p)."""
        with np.errstate(over="ignore"):
            pull = self.pull + self.scale * place
            return self.rest + float(np.square(pull).sum()) / len(pull)

    @property
    def loss(self) -> float:
        """The loss at w₀."""
        return self.loss_at(np.zeros_like(self.pull))

    @property
    def flat(self) -> float:
        """What coordinates of no effect have of the loss, beside the rest."""
        flat = np.where(self.scale == 0, self.pull, 0.0)
        return float(np.square(flat).sum()) / len(self.pull)

    def best(self) -> Floats:
        """The place (k, p) of the smallest loss; coordinates of no effect stay at 0."""
        found = np.zeros_like(self.pull)
        np.divide(-self.pull, self.scale, out=found, where=self.scale > 0)
        return found

    def is_safe(self, dtype: DType) -> bool:
        """Whether each scale, but for those of 0, has the digits that a fit must have.

        A singular value is rounded by some bits of the largest one, and an eigenvalue of the
        Hessian is a square: twice as far off.
        """
        scale = self.scale[self.scale > 0]
        return not len(scale) or scale[-1] >= 2 * _ROUNDING / _TOLERATED[dtype] * scale[0]

    def digest(self) -> str:
        """The same for the same numbers to the bit, and for no others."""
        digest = hashlib.sha256(np.float64(self.rest).tobytes())
        for array in (self.basis, self.scale, self.pull):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


@np.errstate(all="ignore")
def factor(moments: Moments, layer: Layer, l2: float) -> Factor | None:
    """The loss, l2 penalty included, of a layer on rows whose moments its residuals have.

    None where a number would not be finite.
    """
    if not (np.isfinite(moments.mean).all() and np.isfinite(moments.covariance).all()):
        return None
    n_targets, n_features = layer.weight.shape
    centred = _centred(moments, n_features)
    n_centred, n_penalties = len(centred.matrix), n_features if l2 else 0
    width = n_features if layer.bias is None else n_features + 1
    matrix = np.zeros((n_centred + 1 + n_penalties, width))
    offset = np.zeros((len(matrix), n_targets))
    matrix[:n_centred, :n_features], offset[:n_centred] = centred.matrix, centred.offset
    matrix[n_centred, :n_features], matrix[n_centred, n_features:] = centred.mean, 1.0
    offset[n_centred] = moments.mean[n_features:]
    penalty = float(np.sqrt(l2 * n_targets))
    if l2:
        np.fill_diagonal(matrix[n_centred + 1 :], penalty)
        offset[n_centred + 1 :] = penalty * layer.weight.T
    smallest = centred.smallest + penalty**2 / centred.largest
    return Factor(matrix, offset, centred.rest / n_targets, smallest, centred.stray)


class _Centred(NamedTuple):
    """The features and residuals around their means, as `Factor`; `rest` is of all targets.

    `largest` is what no eigenvalue of their covariance is above.
    """

    matrix: Floats
    offset: Floats
    mean: Floats
    rest: float
    smallest: float
    stray: float
    largest: float


def _centred(moments: Moments, n_features: int) -> _Centred:
    mean, covariance = moments.mean[:n_features], moments.covariance
    variances = np.diag(covariance)
    std = np.sqrt(variances[:n_features])
    # A constant column's variance is the rounding of its mean.
    std[std <= _NOISE * np.abs(mean)] = 0.0
    inverse = np.divide(1.0, std, out=np.zeros_like(std), where=std > 0)
    with one_blas_thread():
        correlations = inverse[:, None] * covariance[:n_features, :n_features] * inverse
        values, vectors = np.linalg.eigh(correlations)
        turned = vectors.T @ (inverse[:, None] * covariance[:n_features, n_features:])
    kept = values > _NOISE * values[-1]
    roots = np.sqrt(values[kept])
    offset = turned[kept] / roots[:, None]
    unexplained = variances[n_features:] - (offset**2).sum(axis=0)
    spread = np.sqrt(variances[n_features:])
    stray = np.divide(
        np.abs(turned[~kept]), spread, out=np.zeros_like(turned[~kept]), where=spread > 0
    )
    return _Centred(
        matrix=roots[:, None] * vectors[:, kept].T * std,
        offset=offset,
        mean=mean,
        rest=float(np.maximum(unexplained, 0.0).sum()),
        smallest=float(values[kept][0] / values[-1]) if kept.any() else 1.0,
        stray=float(stray.max(initial=0.0)),
        largest=max(float(values[-1] * (std**2).max()), float(np.finfo(np.float64).tiny)),
    )


@np.errstate(all="ignore")
def decompose(found: Factor) -> Spectrum:
    """The loss in the coordinates of its own Hessian."""
    matrix, offset = found.matrix, found.offset
    missing = matrix.shape[1] - len(matrix)
    if missing > 0:
        # As many rows as coordinates, so that each of these has its place.
        matrix = np.pad(matrix, ((0, missing), (0, 0)))
        offset = np.pad(offset, ((0, missing), (0, 0)))
    with one_blas_thread():
        left, scale, basis = np.linalg.svd(matrix, full_matrices=False)
        pull = left.T @ offset
        missed = offset - left @ pull
    scale[scale <= _NOISE * scale[0]] = 0.0
    rest = found.rest + float((missed**2).sum()) / offset.shape[1]
    return Spectrum(np.ascontiguousarray(basis.T), scale, np.ascontiguousarray(pull.T), rest)
