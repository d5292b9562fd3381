"""A permutation of more rows than memory holds: an external shuffle by distribution.

One pass over the source puts each row into the window of its place, on disk; a window is put in
order when it is read (Knuth, The Art of Computer Programming 3, section 5.4.9, sorts so).
"""

import os
import tempfile
import weakref

import numpy as np
from numpy.typing import NDArray

from workers.engine.data import Data, RowSource, blocks, row_bytes

Floats = NDArray[np.float64]

_NUMBER_BYTES = 8
_MOST_BLOCK_BYTES = 16 * 1024**2


def spilled_row_bytes(source: RowSource) -> int:
    """What a row takes on disk: its place, and all that it takes in memory."""
    return _NUMBER_BYTES + row_bytes(source)


class Spill:
    """The source's rows in the order of `places`, (n,) int64: row i comes at places[i].

    They lie in a temporary file that has no name, and so is gone with the process, however it
    ends. Raises OSError where the disk is full.
    """

    def __init__(self, source: RowSource, places: NDArray[np.int64], window_rows: int) -> None:
        self._shape = source.shape
        self._weighted = source.weighted
        self._row_bytes = spilled_row_bytes(source)
        self._window_rows = window_rows
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 (closed with the spill)
        weakref.finalize(self, self._file.close)
        self._filled = np.zeros(-(-len(places) // window_rows), np.int64)
        most_rows = max(1, _MOST_BLOCK_BYTES // self._row_bytes)
        for first, block in blocks(source, most_rows):
            self._scatter(block, places[first : first + len(block.x)])

    def read(self, window: int) -> Data:
        """The rows of one window, in order."""
        content = bytearray(int(self._filled[window]) * self._row_bytes)
        view, offset = memoryview(content), self._offset(window)
        while view:
            n_read = os.preadv(self._file.fileno(), [view], offset)
            if n_read == 0:
                raise OSError("the temporary file of the shuffle has been cut off")
            view, offset = view[n_read:], offset + n_read
        unordered = np.frombuffer(content).reshape(-1, self._row_bytes // _NUMBER_BYTES)
        rows = np.empty_like(unordered)
        rows[unordered[:, 0].astype(np.int64) - window * self._window_rows] = unordered
        return self._data(rows)

    def _scatter(self, block: Data, places: NDArray[np.int64]) -> None:
        """Append each row to its window."""
        weight = () if block.weight is None else (block.weight,)
        rows = np.column_stack([places, block.x, block.y, *weight])
        windows = places // self._window_rows
        order = np.argsort(windows, kind="stable")
        rows, windows = rows[order], windows[order]
        ends = np.flatnonzero(np.diff(windows, append=-1)) + 1
        for first, stop in zip([0, *ends[:-1]], ends, strict=True):
            window = int(windows[first])
            place = self._offset(window) + int(self._filled[window]) * self._row_bytes
            self._write(rows[first:stop], place)
            self._filled[window] += stop - first

    def _write(self, rows: Floats, offset: int) -> None:
        view = memoryview(rows.tobytes())
        while view:
            n_written = os.pwrite(self._file.fileno(), view, offset)
            view, offset = view[n_written:], offset + n_written

    def _offset(self, window: int) -> int:
        """Where a window begins: every one before it is full in the end."""
        return window * self._window_rows * self._row_bytes

    def _data(self, rows: Floats) -> Data:
        features = self._shape.n_features
        targets = features + self._shape.n_targets
        weight = rows[:, 1 + targets] if self._weighted else None
        x, y = rows[:, 1 : 1 + features], rows[:, 1 + features : 1 + targets]
        return Data(x, y, weight, self._shape.n_classes)
