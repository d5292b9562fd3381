"""Where the plain loop gets its batches from: rows of a source that memory does not hold."""

from collections.abc import Iterator

import numpy as np

from workers.engine.batches import Batches
from workers.engine.data import Data, RowSource
from workers.engine.dtypes import DType
from workers.engine.rows import Part, cut, tensors
from workers.engine.shuffling import shuffle_rows
from workers.engine.spill import Spill, row_bytes

WINDOW_BYTES = 64 * 1024**2


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
        window_bytes: int = WINDOW_BYTES,
    ) -> None:
        self._source = source
        self._batches = batches
        self._shuffle_seed = shuffle_seed
        self._dtype = dtype
        fitting = max(1, window_bytes // row_bytes(source))
        self._window_rows = max(fitting // batches.size * batches.size, min(fitting, batches.size))
        self._spill: Spill | None = None
        self._epoch: int | None = None
        self._window: tuple[int, int | None, Part] | None = None

    def parts(self, step: int) -> Iterator[Part]:
        """The step's batch."""
        first, stop = self._batches.bounds(step)
        epoch = step // self._batches.per_epoch if self._batches.shuffled else None
        for window, begin, end in self._overlaps(first, stop):
            rows = self._load(window, epoch)
            yield rows if end - begin == len(rows.y) else cut(rows, begin, end)

    def all_parts(self) -> Iterator[Part]:
        """The whole training set."""
        for window, _, _ in self._overlaps(0, self._batches.n_rows):
            yield self._load(window, None)

    def _overlaps(self, first: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """The windows that hold the rows, and where in each they begin and end."""
        width = self._window_rows
        for window in range(first // width, -(-stop // width)):
            offset = window * width
            yield window, max(first - offset, 0), min(stop - offset, width)

    def _load(self, window: int, epoch: int | None) -> Part:
        if self._window is None or self._window[:2] != (window, epoch):
            # The last window must be gone before the next one comes.
            self._window = None
            self._window = (window, epoch, tensors(self._read(window, epoch), self._dtype))
        return self._window[2]

    def _read(self, window: int, epoch: int | None) -> Data:
        if epoch is not None:
            return self._shuffled(epoch).read(window)
        first = window * self._window_rows
        return self._source.read(first, min(first + self._window_rows, self._batches.n_rows))

    def _shuffled(self, epoch: int) -> Spill:
        if self._spill is None or self._epoch != epoch:
            self._spill = None
            order = shuffle_rows(self._batches.n_rows, self._shuffle_seed, epoch).numpy()
            places = np.empty_like(order)
            places[order] = np.arange(len(order))
            del order
            self._spill = Spill(self._source, places, self._window_rows)
            self._epoch = epoch
        return self._spill
