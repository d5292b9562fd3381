"""Parquet and Arrow IPC."""

from collections.abc import Generator, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from service.errors import InvalidTable, Place
from service.tables.arrow_messages import check_messages
from service.tables.columns import from_typed
from service.tables.lists import expand, width
from service.tables.mapped import MappedFile
from service.tables.parquet_footer import row_groups
from service.tables.pieces import Piece, ReadOptions, piece_rows
from service.tables.places import refuse, refuse_bad_names

_BROKEN = (pa.ArrowException, OSError, ValueError, OverflowError)
_FILE_MAGIC = b"ARROW1\0\0"
_BUFFER_BYTES = 1024**2


def read_parquet(path: Path, options: ReadOptions) -> Iterator[Piece]:
    """The columns of a Parquet file, a piece of a row group at a time."""
    try:
        with pyarrow.parquet.ParquetFile(
            path, memory_map=False, pre_buffer=False, buffer_size=_BUFFER_BYTES
        ) as file:
            n_values = _refuse_large(path, file.metadata, options)
            size = piece_rows(-(-n_values // max(1, file.metadata.num_rows)) or 1)
            cutter = _Cutter(options)
            for batch in file.iter_batches(size, use_threads=False):
                yield from cutter.cut(batch)
    except _BROKEN as error:
        raise InvalidTable(f"the Parquet file cannot be read: {error}") from error


def _refuse_large(path: Path, metadata: "pa.parquet.FileMetaData", options: ReadOptions) -> int:
    """The values in the file, a list's each counted; raises TooLarge."""
    groups = row_groups(path)
    # What this does not read as Arrow does is no file that anyone writes.
    if len(groups) != metadata.num_row_groups:
        raise ValueError("the footer's row groups cannot be counted")
    if any(len(group.n_values) != metadata.num_columns for group in groups):
        raise ValueError(f"not every row group has the {metadata.num_columns} columns of the file")
    if any(min((group.n_bytes, *group.n_values)) < 0 for group in groups):
        raise ValueError("a row group has fewer than 0 bytes, or a column fewer than 0 values")
    n_values = sum(sum(group.n_values) for group in groups)
    options.refuse_inflated(sum(group.n_bytes for group in groups))
    options.refuse_cells(n_values)
    return n_values


def read_arrow_file(path: Path, options: ReadOptions) -> Iterator[Piece]:
    """The columns of an Arrow IPC file."""
    try:
        with path.open("rb") as file:
            mapped = MappedFile(file)
        # The footer says whether the file is whole; the batches are read as the stream that the
        # file contains, so that what was checked is what is read.
        with pa.ipc.open_file(pa.py_buffer(mapped.view)) as footer:
            n_batches = footer.num_record_batches
        if mapped.view[: len(_FILE_MAGIC)] != _FILE_MAGIC:
            raise ValueError("it does not begin as one")
        n_read = yield from _stream(mapped, len(_FILE_MAGIC), options)
        if n_read != n_batches:
            raise ValueError(f"{n_read} batches were found where {n_batches} are listed")
    except _BROKEN as error:
        raise InvalidTable(f"the Arrow file cannot be read: {error}") from error


def read_arrow_stream(path: Path, options: ReadOptions) -> Iterator[Piece]:
    """The columns of an Arrow IPC stream."""
    try:
        with path.open("rb") as file:
            mapped = MappedFile(file)
        yield from _stream(mapped, 0, options)
    except _BROKEN as error:
        raise InvalidTable(f"the Arrow stream cannot be read: {error}") from error


def _stream(mapped: MappedFile, first: int, options: ReadOptions) -> Generator[Piece, None, int]:
    """The pieces of the stream that begins at byte `first`; its number of batches."""
    content = pa.py_buffer(mapped.view[first:])
    check_messages(content, options)
    cutter = _Cutter(options)
    n_batches = 0
    with pa.ipc.open_stream(pa.BufferReader(content)) as reader:
        for batch in reader:
            n_batches += 1
            for piece in cutter.cut(batch):
                yield piece
                mapped.forget()
    return n_batches


class _Cutter:
    """Cuts the batches of one table into pieces."""

    def __init__(self, options: ReadOptions) -> None:
        self._options = options
        self._names: tuple[str, ...] | None = None
        self._n_rows = 0

    def cut(self, batch: pa.RecordBatch) -> Iterator[Piece]:
        """The batch's pieces; raises InvalidTable at what is no table of numbers and texts."""
        if not batch.num_columns:
            refuse_bad_names(())
        batch.validate()
        n_columns = sum(map(width, batch.columns))
        self._options.refuse_cells((self._n_rows + batch.num_rows) * n_columns)
        step = piece_rows(n_columns)
        for first in range(0, batch.num_rows, step):
            part = batch.slice(first, step)
            # A file from anywhere may point outside its own buffers.
            part.validate(full=True)
            yield self._piece(part)

    def _piece(self, part: pa.RecordBatch) -> Piece:
        names: list[str] = []
        arrays: list[pa.Array] = []
        for name, array in zip(part.schema.names, part.columns, strict=True):
            expanded = expand(name, array, self._n_rows)
            names += expanded
            arrays += expanded.values()
        if self._names is None:
            refuse_bad_names(names)
            self._names = tuple(names)
        if self._names != tuple(names):
            detail = "the lists of a column need one length"
            refuse([Place("ragged_list", detail, row=self._n_rows)])
        cells = [from_typed(n, a, self._n_rows) for n, a in zip(names, arrays, strict=True)]
        self._n_rows += part.num_rows
        return Piece(self._names, tuple(cells))
