"""Where the plain loop gets its batches from: rows in memory."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import torch

from workers.engine.batches import Batches
from workers.engine.data import Data
from workers.engine.dtypes import DType, torch_dtype
from workers.engine.shuffling import shuffle_rows


class Part(NamedTuple):
    """Some rows of a batch, mostly all: x (m, d), y (m, k), weight (m,) or None."""

    x: torch.Tensor
    y: torch.Tensor
    weight: torch.Tensor | None


class Rows(Protocol):
    """A fit's training rows, in batches.

    The same batch is the same tensors to the bit, and as torch allocates them: the order in which
    a product sums follows from where in memory its numbers lie.
    """

    def parts(self, step: int) -> Iterator[Part]:
        """The step's batch: one part, or several where it is too large for memory."""

    def all_parts(self) -> Iterator[Part]:
        """The whole training set."""


def tensors(data: Data, dtype: DType) -> Part:
    """Copies in the fit's dtype: torch's own allocations are aligned, numpy's not always."""
    kind = torch_dtype(dtype)
    weight = None if data.weight is None else torch.tensor(data.weight, dtype=kind)
    return Part(torch.tensor(data.x, dtype=kind), torch.tensor(data.y, dtype=kind), weight)


def take(rows: Part, order: torch.Tensor) -> Part:
    """The rows in this order, in memory of their own."""
    weight = None if rows.weight is None else rows.weight.index_select(0, order)
    return Part(rows.x.index_select(0, order), rows.y.index_select(0, order), weight)


def cut(rows: Part, first: int, stop: int) -> Part:
    """The rows [first, stop), in memory of their own."""
    weight = None if rows.weight is None else rows.weight[first:stop].clone()
    return Part(rows.x[first:stop].clone(), rows.y[first:stop].clone(), weight)


class MemoryRows:
    """Rows in memory. See `Rows`."""

    def __init__(self, data: Data, batches: Batches, shuffle_seed: int, dtype: DType) -> None:
        self._all = tensors(data, dtype)
        self._batches = batches
        self._shuffle_seed = shuffle_seed
        self._order = torch.empty(0)

    def parts(self, step: int) -> Iterator[Part]:
        """The step's batch."""
        first, stop = self._batches.bounds(step)
        if stop - first == self._batches.n_rows:
            yield self._all
        elif self._batches.shuffled:
            if first == 0:
                epoch = step // self._batches.per_epoch
                self._order = shuffle_rows(self._batches.n_rows, self._shuffle_seed, epoch)
            yield take(self._all, self._order[first:stop])
        else:
            yield cut(self._all, first, stop)

    def all_parts(self) -> Iterator[Part]:
        """The whole training set."""
        yield self._all
