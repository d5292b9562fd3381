"""The triangle of a table of rows: all that linear least squares needs of it."""

import math
from typing import cast

import numpy as np
from numpy.typing import NDArray

from workers.engine.data import Data, RowSource, blocks
from workers.engine.models import Linear
from workers.engine.normal_equations import Layer, finished, gather, sum_squares
from workers.engine.specification import Specification
from workers.engine.spectrum import Squares, factor
from workers.engine.splitting import joined
from workers.engine.threads import one_blas_thread

Floats = NDArray[np.float64]

# The relative error that squares of the data may bring into an eigenvalue.
_TOLERATED = 1e-11
_ROUNDING = 8 * float(np.finfo(np.float64).eps)
# Below it a variance has lost digits, as numbers near 0 do.
_LEAST_VARIANCE = 1e-280
# Below this share of what is explained, a difference of sums tells the rest too badly.
_LEAST_SHARE = 1e-3


def has_bias(spec: Specification) -> bool:
    """Whether the fit's linear layer has one."""
    return isinstance(spec.model, Linear) and spec.model.bias


def triangle_of(spec: Specification, rows: RowSource, known: Squares | None = None) -> Floats:
    """R of √(w/Σw)·[x, 1, y] with the penalty's rows below: (p + k, p + k), p coefficients.

    The loss is the mean over the k targets of ‖R·[θ; -1]‖²: its Hessian is 2/k·RᵀR of the first
    p columns. Not finite where the data are not, or where no row counts. From the rows' squares,
    those that are known or one pass's, where these lose no digits, else from QR decompositions.
    """
    with np.errstate(all="ignore"):
        squares = known or _squared(spec, rows)
        if squares is not None and _is_exact(squares):
            return _from_squares(spec, rows, squares, refined=known is not None)
        return _reduced_all(spec, rows)


def _squared(spec: Specification, rows: RowSource) -> Squares | None:
    """Around weights of 0."""
    shape = rows.shape
    bias = np.zeros(shape.n_targets) if has_bias(spec) else None
    layer = Layer(np.zeros((shape.n_targets, shape.n_features)), bias)
    moments = finished(gather(_in_blocks(rows), layer, "float64"))
    found = factor(moments, layer, spec.penalty.l2)
    return None if found is None else Squares(layer, found, found.rest)


def _is_exact(squares: Squares) -> bool:
    """Whether no feature is made up of others, or nearly so, or too small to be squared."""
    found, n_features = squares.factor, squares.layer.weight.shape[1]
    is_full = found.n_centred == n_features and found.least_variance > _LEAST_VARIANCE
    return is_full and found.smallest >= _ROUNDING / _TOLERATED


def _from_squares(
    spec: Specification, rows: RowSource, squares: Squares, *, refined: bool
) -> Floats:
    found, layer = squares.factor, squares.layer
    size, n_targets = found.matrix.shape[1], found.offset.shape[1]
    with one_blas_thread():
        right = found.matrix @ layer.coefficients().T - found.offset
        triangle = _qr(np.pad(np.hstack([found.matrix, right]), ((0, n_targets), (0, 0))))
        triangle = triangle[: size + n_targets]
        best = np.linalg.solve(triangle[:size, :size], triangle[:size, size:])
    missed = float(np.square(triangle[size:, size:]).sum()) / n_targets
    rest = squares.rest + (0.0 if refined else missed)
    spread = float(np.square(triangle[:size, size:]).sum()) / n_targets
    if not refined and rest < _LEAST_SHARE * spread:
        rest = _least_loss(spec, rows, layer.at(cast(Floats, best.T)))
    triangle[size:, size:] = np.eye(n_targets) * math.sqrt(rest)
    return triangle


def _least_loss(spec: Specification, rows: RowSource, best: Layer) -> float:
    """The loss of the best layer, by a pass of its own."""
    squares, total = finished(sum_squares(_in_blocks(rows), best, "float64"))
    penalty = spec.penalty.l2 * float(np.square(best.weight).sum())
    return squares / (total * rows.shape.n_targets) + penalty


def _reduced_all(spec: Specification, rows: RowSource) -> Floats:
    """By the sequential form of the QR decomposition of tall matrices.

    Demmel, Grigori, Hoemmen and Langou (2012). No product of the data with themselves is formed,
    which would square their condition number.
    """
    n_features, n_targets = rows.shape.n_features, rows.shape.n_targets
    bias = has_bias(spec)
    width = n_features + bias + n_targets
    triangle, total = np.zeros((width, width)), 0.0
    for _, block in blocks(rows):
        triangle = _qr(np.vstack([triangle, _table(block, bias)]))
        total += len(block.x) if block.weight is None else float(block.weight.sum())
    triangle /= np.sqrt(total)
    if spec.penalty.l2 == 0:
        return triangle
    penalty = np.eye(n_features, width) * math.sqrt(spec.penalty.l2 * n_targets)
    return _qr(np.vstack([triangle, penalty]))


def _table(block: Data, bias: bool) -> Floats:
    """√w·[x, 1, y] of some rows: (m, p + k)."""
    ones = [np.ones((len(block.x), 1))] if bias else []
    table: Floats = np.hstack([block.x, *ones, block.y])
    if block.weight is not None:
        table *= np.sqrt(block.weight)[:, None]
    return table


def _qr(table: Floats) -> Floats:
    # numpy's types do not know that this mode gives R alone.
    return cast(Floats, np.linalg.qr(table, mode="r"))


def _in_blocks(rows: RowSource) -> RowSource:
    return rows if isinstance(rows, Data) else _Blocks(rows)


class _Blocks:
    """A source that is never read in larger blocks than others read it in."""

    def __init__(self, source: RowSource) -> None:
        self._source = source
        self.shape = source.shape
        self.weighted = source.weighted

    def read(self, first: int, stop: int) -> Data:
        """The rows [first, stop), in order."""
        return joined([block for _, block in blocks(self._source, first=first, stop=stop)])
