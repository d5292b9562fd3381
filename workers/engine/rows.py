"""Where the plain loop gets its batches from: rows in memory."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from workers.engine.batches import Batches
from workers.engine.data import Data
from workers.engine.dtypes import DType, torch_dtype
from workers.engine.shuffling import shuffle_rows

# torch's own allocations begin at a multiple of this.
_LINE_BYTES = 64


class Part(NamedTuple):
    """Some rows of a batch, mostly all: x (m, d), y (m, k), weight (m,) or None."""

    x: torch.Tensor
    y: torch.Tensor
    weight: torch.Tensor | None


class Rows(Protocol):
    """A fit's training rows, in batches.

    The same batch is the same tensors to the bit, and as far past a line of the cache: the order
    in which a product sums follows from where in memory its numbers lie. Shuffled batches begin
    at a line, others lie as slices of a tensor of all rows do.
    """

    n_rows: int

    def parts(self, step: int) -> Iterator[Part]:
        """The step's batch: one part, or several where it is too large for memory."""

    def all_parts(self) -> Iterator[Part]:
        """The whole training set."""


def tensors(data: Data, dtype: DType, first: int = 0) -> Part:
    """Copies in the fit's dtype, placed like the rows from `first` on in a tensor of all rows."""
    weight = None if data.weight is None else _placed(data.weight, dtype, first)
    return Part(_placed(data.x, dtype, first), _placed(data.y, dtype, first), weight)


def _placed(array: NDArray[np.float64], dtype: DType, first: int) -> torch.Tensor:
    kind = torch_dtype(dtype)
    skipped = first * array[0].size % (_LINE_BYTES // kind.itemsize)
    room = torch.empty(skipped + array.size, dtype=kind)
    placed = room[skipped:].view(array.shape)
    with np.errstate(over="ignore"):
        placed.numpy()[...] = array
    return placed


def take(rows: Part, order: torch.Tensor) -> Part:
    """The rows in this order, in memory of their own."""
    weight = None if rows.weight is None else rows.weight.index_select(0, order)
    return Part(rows.x.index_select(0, order), rows.y.index_select(0, order), weight)


def cut(rows: Part, first: int, stop: int) -> Part:
    """The rows [first, stop), as views."""
    weight = None if rows.weight is None else rows.weight[first:stop]
    return Part(rows.x[first:stop], rows.y[first:stop], weight)


def copied(rows: Part) -> Part:
    """The rows in memory of their own."""
    weight = None if rows.weight is None else rows.weight.clone()
    return Part(rows.x.clone(), rows.y.clone(), weight)


class MemoryRows:
    """Rows in memory. See `Rows`."""

    def __init__(
        self,
        data: Data,
        batches: Batches,
        shuffle_seed: int,
        dtype: DType,
        *,
        most_rows: int | None = None,
        whole_batches: bool = True,
    ) -> None:
        """`most_rows` are evaluated at once, and come at once of a batch if it is not `whole`."""
        self._all = tensors(data, dtype)
        self.n_rows = len(data.x)
        self._most_rows = most_rows or len(data.x)
        self._batch_rows = batches.size if whole_batches else self._most_rows
        self._batches = batches
        self._shuffle_seed = shuffle_seed
        self._shuffle: int | None = None
        self._order = torch.empty(0)

    def parts(self, step: int) -> Iterator[Part]:
        """The step's batch."""
        first, stop = self._batches.bounds(step)
        if not self._batches.shuffled:
            yield from self._cut(first, stop, self._batch_rows)
            return
        epoch = self._batches.shuffle_of(step)
        if self._shuffle != epoch:
            self._order = shuffle_rows(self._batches.n_rows, self._shuffle_seed, epoch)
            self._shuffle = epoch
        for order in self._order[first:stop].split(self._batch_rows):
            yield take(self._all, order)

    def all_parts(self) -> Iterator[Part]:
        """The whole training set."""
        yield from self._cut(0, len(self._all.x), self._most_rows)

    def _cut(self, first: int, stop: int, most_rows: int) -> Iterator[Part]:
        for begin in range(first, stop, most_rows):
            yield cut(self._all, begin, min(begin + most_rows, stop))
