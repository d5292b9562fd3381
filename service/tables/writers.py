"""A canonical file → the same table in the reader's format, as a stream of bounded pieces."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from service.tables.stored import StoredTable

Writer = Callable[[StoredTable], Iterator[bytes]]


def write_csv(table: StoredTable) -> Iterator[bytes]:
    """A header row, then the shortest digits that give every number back."""
    options = pyarrow.csv.WriteOptions(include_header=True)
    for block in table.blocks():
        piece = io.BytesIO()
        pyarrow.csv.write_csv(block, piece, options)
        yield piece.getvalue()
        options.include_header = False


def write_json(table: StoredTable) -> Iterator[bytes]:
    """`{"columns": {name: [..]}}`, as it can be posted again."""
    yield b'{"columns":{'
    for i, name in enumerate(table.names):
        yield b"," * (i > 0) + orjson.dumps(name) + b":["
        with table.only(name) as column:
            for j, block in enumerate(column.blocks()):
                values = orjson.dumps(block.column(0).to_pylist())
                yield b"," * (j > 0) + values[1:-1]
        yield b"]"
    yield b"}}"


def write_parquet(table: StoredTable) -> Iterator[bytes]:
    """A Parquet file, a block a row group."""
    with Outbox() as out, pyarrow.parquet.ParquetWriter(out.sink, table.schema) as writer:
        for block in table.blocks():
            writer.write_batch(block)
            yield out.take()
        writer.close()
        yield out.take()


def write_arrow_file(table: StoredTable) -> Iterator[bytes]:
    """An Arrow IPC file."""
    return _write_ipc(table, pa.ipc.new_file)


def write_arrow_stream(table: StoredTable) -> Iterator[bytes]:
    """An Arrow IPC stream."""
    return _write_ipc(table, pa.ipc.new_stream)


def _write_ipc(
    table: StoredTable, begin: Callable[..., "pa.ipc._CRecordBatchWriter"]
) -> Iterator[bytes]:
    with Outbox() as out:
        writer = begin(out.sink, table.schema)
        for block in table.blocks():
            writer.write_batch(block)
            yield out.take()
        writer.close()
        yield out.take()


# One entry a media type, in the order of preference.
WRITERS: dict[str, Writer] = {
    "text/csv": write_csv,
    "application/json": write_json,
    "application/vnd.apache.parquet": write_parquet,
    "application/vnd.apache.arrow.file": write_arrow_file,
    "application/vnd.apache.arrow.stream": write_arrow_stream,
}


def content(path: Path, media_type: str) -> Iterator[bytes]:
    """The table in the format of the media type."""
    with StoredTable(path) as table:
        yield from WRITERS[media_type](table)


class Outbox(io.RawIOBase):
    """Keeps what Arrow's writers write until it is sent."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: list[bytes] = []
        self.sink = pa.PythonFile(self, "w")

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, piece: "pa.Buffer") -> int:
        """Take the next bytes."""
        self._waiting.append(bytes(piece))
        return len(piece)

    def take(self) -> bytes:
        """All that came since the last time."""
        taken = b"".join(self._waiting)
        self._waiting.clear()
        return taken
