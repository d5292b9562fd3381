"""Compiled decompositions of small matrices, for which LAPACK's calls take longer than the numbers.

One-sided Jacobi rotations (Hestenes 1958; Golub & Van Loan, Matrix Computations 8.6.3): each
singular value has the digits that its column has, however small it is beside others.
"""

import numpy as np
from numpy.typing import NDArray

from workers.engine.compiled import compiled_to_the_letter

Floats = NDArray[np.float64]

# Columns, past which LAPACK is faster.
MOST_COLUMNS = 8
_MOST_SWEEPS = 64
_EPS = float(np.finfo(np.float64).eps)


@compiled_to_the_letter
def singular_values(matrix: Floats) -> tuple[Floats, Floats, Floats]:
    """left (m, n), scale (n,) and basis (n, n) with matrix = left·diag(scale)·basisᵀ, m ≥ n.

    The scales fall; a left vector of scale 0 is 0.
    """
    n = matrix.shape[1]
    left, basis, largest = matrix.copy(), np.eye(n), 0.0
    for value in matrix.flat:
        largest = max(largest, abs(value))
    if largest > 0.0:
        left /= largest
    for _ in range(_MOST_SWEEPS):
        if not _sweep(left, basis):
            break
    scale = np.empty(n)
    for i in range(n):
        scale[i] = np.sqrt(_product(left, i, i))
    _sort(left, scale, basis)
    for i in range(n):
        for row in range(len(left)):
            left[row, i] = left[row, i] / scale[i] if scale[i] > 0.0 else 0.0
        scale[i] *= largest
    return left, scale, basis


@compiled_to_the_letter
def _sweep(left: Floats, basis: Floats) -> bool:
    """Turn each pair of columns until it is at right angles; whether there was anything to turn."""
    turned = False
    for p in range(left.shape[1] - 1):
        for q in range(p + 1, left.shape[1]):
            one, other, both = _product(left, p, p), _product(left, q, q), _product(left, p, q)
            if abs(both) <= _EPS * np.sqrt(one) * np.sqrt(other):
                continue
            turned = True
            half = (other - one) / (2.0 * both)
            tangent = np.copysign(1.0, half) / (abs(half) + np.hypot(1.0, half))
            cosine = 1.0 / np.hypot(1.0, tangent)
            _rotate(left, p, q, cosine, cosine * tangent)
            _rotate(basis, p, q, cosine, cosine * tangent)
    return turned


@compiled_to_the_letter
def _product(matrix: Floats, p: int, q: int) -> float:
    total = 0.0
    for row in range(len(matrix)):
        total += matrix[row, p] * matrix[row, q]
    return total


@compiled_to_the_letter
def _rotate(matrix: Floats, p: int, q: int, cosine: float, sine: float) -> None:
    for row in range(len(matrix)):
        one, other = matrix[row, p], matrix[row, q]
        matrix[row, p] = cosine * one - sine * other
        matrix[row, q] = sine * one + cosine * other


@compiled_to_the_letter
def _sort(left: Floats, scale: Floats, basis: Floats) -> None:
    """The largest scale first."""
    for i in range(len(scale)):
        most = i + int(np.argmax(scale[i:]))
        if most != i:
            _swap(left, i, most)
            _swap(basis, i, most)
            scale[i], scale[most] = scale[most], scale[i]


@compiled_to_the_letter
def _swap(matrix: Floats, i: int, j: int) -> None:
    for row in range(len(matrix)):
        matrix[row, i], matrix[row, j] = matrix[row, j], matrix[row, i]
