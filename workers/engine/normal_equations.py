"""One pass over the rows of least squares: all that a full-batch descent needs of them."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from workers.engine.asides import MUCH_WORK, aside_if
from workers.engine.data import Data, RowSource, Shape, row_bytes
from workers.engine.dtypes import DType, Weights, numpy_dtype
from workers.engine.interrupting import look
from workers.engine.threads import cores, one_blas_thread

Floats = NDArray[np.float64]
Sums = TypeVar("Sums")

# What a block takes: it stays in the cache of a core while it is centred and multiplied.
_BLOCK_NUMBERS = 2**17
_LEAST_BLOCK_ROWS = 512
_MOST_BLOCK_ROWS = 8_192
_BLOCKS_A_TASK = 8
# What is read at once of rows that are not in memory.
_GROUP_BYTES = 64 * 1024**2


class Layer(NamedTuple):
    """The coefficients of a linear layer: weight (k, d), bias (k,) or None, float64."""

    weight: Floats
    bias: Floats | None

    @classmethod
    def of(cls, weights: Mapping[str, NDArray[Any]]) -> "Layer":
        """The layer of these weights, by their state_dict names."""
        weight, bias = weights["weight"], weights.get("bias")
        return cls(weight.astype(np.float64), None if bias is None else bias.astype(np.float64))

    def coefficients(self) -> Floats:
        """All of them, (k, p): each target's weights, and its bias."""
        if self.bias is None:
            return self.weight
        return np.concatenate([self.weight, self.bias[:, None]], axis=1)

    def at(self, coefficients: Floats) -> "Layer":
        """The layer with these coefficients (k, p), or all of them one after the other."""
        n_targets, n_features = self.weight.shape
        rows = coefficients.reshape(n_targets, -1)
        return Layer(rows[:, :n_features], None if self.bias is None else rows[:, n_features])

    def named(self, dtype: DType = "float64") -> Weights:
        """Copies of the weights in the dtype, by their state_dict names."""
        parts = {"weight": self.weight, "bias": self.bias}
        return {
            name: part.astype(numpy_dtype(dtype))
            for name, part in parts.items()
            if part is not None
        }


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """The first two moments of rows t = [x, r], r (k,) being a layer's residuals ŷ - y.

    Rows count by their weights, which are `total` together. mean (d + k,), and covariance
    (d + k, d + k) around it, both per unit of weight.
    """

    total: float
    mean: Floats
    covariance: Floats


class _Moving(NamedTuple):
    """The moments of some rows, `products` being total times covariance."""

    total: float
    mean: Floats
    products: Floats


def gather(
    rows: RowSource, layer: Layer, dtype: DType, n_threads: int | None = None
) -> Generator[None, None, Moments]:
    """The moments of the rows, in the dtype's precision, and of the layer's residuals on them.

    It stops after every group of rows that is read: after all of them where they are in memory.
    Blocks follow from the shape alone and are added up in their order, so that the bits are the
    same by any number of threads, streamed or in memory.

    Each block is centred before it is squared, and blocks are joined by the formula of Chan, Golub
    and LeVeque (1979): features far off their origin lose no digits.
    """
    nothing = _nothing(rows.shape)
    task = partial(_moments, layer=layer, dtype=dtype)
    total, mean, products = yield from _fold(rows, task, _joined, nothing, n_threads)
    with np.errstate(all="ignore"):
        return Moments(total, mean, products / np.float64(total))


def sum_squares(
    rows: RowSource, layer: Layer, dtype: DType, n_threads: int | None = None
) -> Generator[None, None, tuple[float, float]]:
    """The sum of the layer's squared residuals by the rows' weights, and of the weights.

    It stops like `gather`.
    """
    task = partial(_squares, layer=layer, dtype=dtype)
    return (yield from _fold(rows, task, _added, (0.0, 0.0), n_threads))


def finished(steps: Generator[None, None, Sums]) -> Sums:
    """What the generator returns, however often it stops."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: Sums = end.value
            return result


def pass_threads(shape: Shape) -> int:
    """How many threads a pass over so many rows uses on this machine."""
    n_tasks = -(-shape.n_rows // _task_rows(shape))
    return min(cores(), n_tasks) if n_tasks > 1 else 1


def _fold(
    rows: RowSource,
    task: Callable[[Data], Sums],
    join: Callable[[Sums, Sums], Sums],
    total: Sums,
    n_threads: int | None,
) -> Generator[None, None, Sums]:
    """Join what the task makes of the rows, part by part in their order."""
    n_threads = pass_threads(rows.shape) if n_threads is None else n_threads
    step, row_work = _task_rows(rows.shape), (rows.shape.n_features + rows.shape.n_targets) ** 2

    def joined_with(group: Data, total: Sums) -> Sums:
        cuts = range(0, len(group.x), step)
        parts = (group.read(cut, min(cut + step, len(group.x))) for cut in cuts)
        with one_blas_thread(), _mapping(min(n_threads, len(cuts))) as mapped:
            for part in mapped(task, parts):
                total = join(total, part)
                look()
        return total

    for group in _groups(rows, step):
        takes_long = len(group.x) * row_work > MUCH_WORK
        total = aside_if(takes_long, partial(joined_with, group, total))
        yield
    return total


def _groups(rows: RowSource, step: int) -> Iterator[Data]:
    """The rows that are read at once: whole tasks of so many rows."""
    if isinstance(rows, Data):
        yield rows
        return
    n_rows = rows.shape.n_rows
    most = max(1, _GROUP_BYTES // row_bytes(rows) // step) * step
    for first in range(0, n_rows, most):
        yield rows.read(first, min(first + most, n_rows))


@contextmanager
def _mapping(n_threads: int) -> Iterator[Callable[..., Iterable[Any]]]:
    """A `map` whose results come in order, from so many threads."""
    if n_threads == 1:
        yield map
        return
    with ThreadPoolExecutor(n_threads) as pool:
        yield pool.map


def _task_rows(shape: Shape) -> int:
    return _BLOCKS_A_TASK * _block_rows(shape)


def _block_rows(shape: Shape) -> int:
    fitting = _BLOCK_NUMBERS // (shape.n_features + shape.n_targets)
    return min(max(fitting, _LEAST_BLOCK_ROWS), _MOST_BLOCK_ROWS)


def _moments(data: Data, layer: Layer, dtype: DType) -> _Moving:
    moving = _nothing(data.shape)
    with np.errstate(all="ignore"):
        for table, weight in _tables(data, layer, dtype):
            moving = _joined(moving, _of_block(table, weight))
    return moving


def _squares(data: Data, layer: Layer, dtype: DType) -> tuple[float, float]:
    squares = total = 0.0
    with np.errstate(all="ignore"):
        for table, weight in _tables(data, layer, dtype):
            residuals = table[:, data.shape.n_features :]
            by_row = np.square(residuals).sum(axis=1)
            squares += float(by_row.sum() if weight is None else (weight * by_row).sum())
            total += float(len(table) if weight is None else weight.sum())
    return squares, total


def _tables(data: Data, layer: Layer, dtype: DType) -> Iterator[tuple[Floats, Floats | None]]:
    """[x, r] of each block, in room that the next one takes, and the rows' weights."""
    shape, kind = data.shape, numpy_dtype(dtype)
    room = np.empty((min(_block_rows(shape), shape.n_rows), shape.n_features + shape.n_targets))
    for first in range(0, shape.n_rows, len(room)):
        block = data.read(first, min(first + len(room), shape.n_rows))
        table = room[: len(block.x)]
        features, residuals = table[:, : shape.n_features], table[:, shape.n_features :]
        features[:] = block.x.astype(kind, copy=False)
        np.matmul(features, layer.weight.T, out=residuals)
        if layer.bias is not None:
            residuals += layer.bias
        residuals -= block.y.astype(kind, copy=False)
        weight = block.weight
        yield table, None if weight is None else weight.astype(kind).astype(np.float64)


def _of_block(table: Floats, weight: Floats | None) -> _Moving:
    """The moments of a block, which is centred and weighed where it lies."""
    if weight is None:
        total = float(len(table))
        mean = table.sum(axis=0) / total
        table -= mean
    else:
        total = float(weight.sum())
        mean = weight @ table / np.float64(total)
        table -= mean
        table *= np.sqrt(weight)[:, None]
    return _Moving(total, mean, table.T @ table)


def _nothing(shape: Shape) -> _Moving:
    width = shape.n_features + shape.n_targets
    return _Moving(0.0, np.zeros(width), np.zeros((width, width)))


def _joined(a: _Moving, b: _Moving) -> _Moving:
    """The moments of two sets of rows together; one that counts nothing changes nothing."""
    if a.total == 0.0:
        return b
    if b.total == 0.0:
        return a
    total = a.total + b.total
    gap, share = b.mean - a.mean, b.total / total
    products = a.products + b.products
    products += np.outer(gap, gap * (a.total * share))
    return _Moving(total, a.mean + gap * share, products)


def _added(a: tuple[float, float], b: tuple[float, float]) -> tuple[float, float]:
    return a[0] + b[0], a[1] + b[1]
