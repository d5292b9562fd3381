"""The one form in which every table is kept: an Arrow IPC file of float64 and text columns."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Self

import orjson
import pyarrow as pa

from service.errors import Place
from service.tables.columns import LONGEST_TEXT_BYTES, Cells, Kind
from service.tables.distinct import count_distinct
from service.tables.places import refuse
from service.tables.stored import StoredTable
from service.tables.summaries import CategorySummary, ColumnSummary, NumberSummary

_MOST_BLOCK_ROWS = 65_536
_MOST_BLOCK_BYTES = 16 * 1024**2
_NUMBER_BYTES = 8
_SUMMARIES: dict[Kind, type[NumberSummary] | type[CategorySummary]] = {
    "number": NumberSummary,
    "category": CategorySummary,
}
_TYPES: dict[Kind, pa.DataType] = {"number": pa.float64(), "category": pa.string()}


@dataclass(frozen=True)
class Ingested:
    """What is known of a table once it has been read to its end."""

    n_rows: int
    n_dropped: int
    size_bytes: int
    digest: str
    columns: list[dict[str, Any]]


def block_rows(kinds: Sequence[Kind]) -> int:
    """The rows of a block: the same whatever form the table came in.

    Summaries are merged block by block, and so follow from the numbers alone.
    """
    widths = {"number": _NUMBER_BYTES, "category": LONGEST_TEXT_BYTES}
    row_bytes = sum(widths[kind] for kind in kinds)
    return max(1, min(_MOST_BLOCK_ROWS, _MOST_BLOCK_BYTES // row_bytes))


class CanonicalWriter:
    """Takes a table's rows in pieces of any size and writes them in blocks of one."""

    def __init__(self, path: Path, names: Sequence[str], kinds: Sequence[Kind]) -> None:
        self._path = path
        self._names = list(names)
        self._kinds = list(kinds)
        self._block_rows = block_rows(kinds)
        self._schema = pa.schema([(n, _TYPES[k]) for n, k in zip(names, kinds, strict=True)])
        self._summaries: list[ColumnSummary] = [
            _SUMMARIES[kind](name) for name, kind in zip(names, kinds, strict=True)
        ]
        self._pending: list[pa.RecordBatch] = []
        self._n_pending = 0
        self._n_rows = 0
        self._sink = pa.OSFile(str(path), "wb")
        self._writer = pa.ipc.new_file(self._sink, self._schema)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        if not self._sink.closed:
            self._writer.close()
            self._sink.close()

    def add(self, columns: Sequence[Cells]) -> None:
        """Take the next rows in."""
        arrays = [pa.array(cells.values) for cells in columns]
        piece = pa.RecordBatch.from_arrays(arrays, schema=self._schema)
        self._pending.append(piece)
        self._n_pending += piece.num_rows
        while self._n_pending >= self._block_rows:
            self._flush(self._block_rows)

    def finish(self, n_dropped: int) -> Ingested:
        """Write what is left, and sum up."""
        if self._n_pending:
            self._flush(self._n_pending)
        self._close()
        return Ingested(
            n_rows=self._n_rows,
            n_dropped=n_dropped,
            size_bytes=self._path.stat().st_size,
            digest=self._digest(),
            columns=self._describe(),
        )

    def _flush(self, n_rows: int) -> None:
        pending = pa.Table.from_batches(self._pending, self._schema)
        rest = pending.slice(n_rows)
        self._pending = rest.to_batches()
        self._n_pending = rest.num_rows
        (block,) = pending.slice(0, n_rows).combine_chunks().to_batches()
        self._n_rows += n_rows
        for array, kind, summary in zip(block.columns, self._kinds, self._summaries, strict=True):
            summary.add(array.to_numpy() if kind == "number" else array)
        self._writer.write_batch(block)

    def _digest(self) -> str:
        columns = [
            [name, kind, summary.content_digest()]
            for name, kind, summary in zip(self._names, self._kinds, self._summaries, strict=True)
        ]
        head = orjson.dumps({"n_rows": self._n_rows, "columns": columns})
        return "sha256:" + hashlib.sha256(head).hexdigest()

    def _describe(self) -> list[dict[str, Any]]:
        described = [summary.describe() for summary in self._summaries]
        for column in described:
            if column["n_distinct"] is None:
                with StoredTable(self._path, [column["name"]]) as table:
                    column["n_distinct"] = count_distinct(table)
        return described


def refuse_no_rows(n_dropped: int) -> NoReturn:
    """Raise InvalidTable: there is no row, or none that could be kept."""
    dropped = f" that could be kept: {n_dropped} were dropped" if n_dropped else ""
    refuse([Place("no_rows", f"the table has no rows{dropped}")])
