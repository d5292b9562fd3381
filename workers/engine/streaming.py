"""Where the plain loop gets its batches from: rows of a source that memory does not hold."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from workers.engine.batches import Batches
from workers.engine.data import Data, RowSource
from workers.engine.dtypes import DType
from workers.engine.interrupting import look
from workers.engine.rows import Part, copied, cut, tensors
from workers.engine.shuffling import shuffle_rows
from workers.engine.spill import Spill, spilled_row_bytes

WINDOW_BYTES = 128 * 1024**2
_INVERTED_ROWS = 2**20


class StreamedRows:
    """Rows of a source, a window of them in memory at a time. See `workers.engine.rows.Rows`.

    A window is a whole number of batches, and the same batches as in memory; a batch that is
    larger than a window comes in parts. An epoch's order needs one pass over the source and one
    over a temporary file of its size.
    """

    def __init__(
        self,
        source: RowSource,
        batches: Batches,
        shuffle_seed: int,
        dtype: DType,
        window_bytes: int | None = None,
    ) -> None:
        """A window takes so many bytes, WINDOW_BYTES unless told otherwise."""
        self._source = source
        self.n_rows = source.shape.n_rows
        self._batches = batches
        self._shuffle_seed = shuffle_seed
        self._dtype = dtype
        most_bytes = WINDOW_BYTES if window_bytes is None else window_bytes
        fitting = max(1, most_bytes // spilled_row_bytes(source))
        self._window_rows = max(fitting // batches.size * batches.size, min(fitting, batches.size))
        self._spill: Spill | None = None
        self._epoch: int | None = None
        self._window: tuple[int, int | None, Part] | None = None

    def parts(self, step: int) -> Iterator[Part]:
        """The step's batch."""
        first, stop = self._batches.bounds(step)
        epoch = self._batches.shuffle_of(step) if self._batches.shuffled else None
        for window, begin, end in self._overlaps(first, stop):
            # No name is given to what is handed out: it would keep the window from going.
            if epoch is None:
                yield cut(self._load(window, epoch), begin, end)
            else:
                yield copied(cut(self._load(window, epoch), begin, end))

    def all_parts(self) -> Iterator[Part]:
        """The whole training set."""
        for window, _, _ in self._overlaps(0, self.n_rows):
            yield self._load(window, None)

    def _overlaps(self, first: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """The windows that hold the rows, and where in each they begin and end."""
        width = self._window_rows
        for window in range(first // width, -(-stop // width)):
            offset = window * width
            yield window, max(first - offset, 0), min(stop - offset, width)

    def _load(self, window: int, epoch: int | None) -> Part:
        kept = self._window
        if kept is None or kept[:2] != (window, epoch):
            # The last window must be gone before the next one comes.
            kept = self._window = None
            # An epoch's batches are copied out of it, so that it may lie anywhere.
            first = window * self._window_rows if epoch is None else 0
            rows = tensors(self._read(window, epoch), self._dtype, first)
            # A thread that was left alone may keep another one meanwhile.
            kept = self._window = (window, epoch, rows)
        return kept[2]

    def _read(self, window: int, epoch: int | None) -> Data:
        if epoch is not None:
            return self._shuffled(epoch).read(window)
        first = window * self._window_rows
        return self._source.read(first, min(first + self._window_rows, self.n_rows))

    def _shuffled(self, epoch: int) -> Spill:
        if self._spill is None or self._epoch != epoch:
            self._spill = None
            places = _inverse(shuffle_rows(self.n_rows, self._shuffle_seed, epoch).numpy())
            self._spill = Spill(self._source, places, self._window_rows)
            self._epoch = epoch
        return self._spill


def _inverse(order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where in the order each row stands; besides the two, memory for a few rows alone."""
    places = np.empty_like(order)
    for first in range(0, len(order), _INVERTED_ROWS):
        if first:
            look()
        part = order[first : first + _INVERTED_ROWS]
        places[part] = np.arange(first, first + len(part))
    return places
