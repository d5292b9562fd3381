"""A canonical file, read a block at a time."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa


class StoredTable:
    """The columns `names` of a canonical file, all by default, in bounded memory.

    The file is read, never mapped: a map of a large one would count as memory, and against a
    limit on the address space.
    """

    def __init__(self, path: Path, names: Sequence[str] | None = None) -> None:
        self._path = path
        self._source = pa.OSFile(str(path), "rb")
        options = pa.ipc.IpcReadOptions(use_threads=False)
        if names is not None:
            with pa.ipc.open_file(self._source) as reader:
                fields = [reader.schema.get_field_index(name) for name in names]
            options.included_fields = fields
        self._reader = pa.ipc.open_file(self._source, options=options)
        kept = self._reader.schema.names if names is None else names
        self.names = tuple(kept)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the file back."""
        self._source.close()

    def only(self, name: str) -> "StoredTable":
        """One column of the table, opened anew."""
        return StoredTable(self._path, [name])

    @property
    def schema(self) -> pa.Schema:
        """The columns' names and Arrow types, in the order of `names`."""
        return pa.schema([self._reader.schema.field(name) for name in self.names])

    @property
    def n_blocks(self) -> int:
        """How many blocks there are, one at least."""
        return int(self._reader.num_record_batches)

    @property
    def n_rows(self) -> int:
        """How many rows there are."""
        last = self.n_blocks - 1
        return last * self.block_rows + int(self.block(last).num_rows)

    @property
    def block_rows(self) -> int:
        """The rows of every block but the last, which may have fewer."""
        return int(self.block(0).num_rows)

    def block(self, i: int) -> pa.RecordBatch:
        """One block, its columns in the order of `names`."""
        return self._reader.get_batch(i).select(self.names)

    def blocks(self) -> Iterator[pa.RecordBatch]:
        """Every block in order."""
        return map(self.block, range(self.n_blocks))
