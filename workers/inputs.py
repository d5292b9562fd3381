"""A claim's dataset → the arrays that the engine takes."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from service.context import Context
from service.lifecycle import Claim
from service.tables.encoding import Feature, encode, matrix
from service.tables.stored import StoredTable
from workers.engine import Data, RowSource, Shape, is_streamed

_KEPT_TABLES = 16
_LARGEST_KEPT_BYTES = 16 * 1024**2

_tables: OrderedDict[str, pa.RecordBatch] = OrderedDict()


@dataclass(frozen=True)
class Columns:
    """Which columns of a table are features, targets and weights."""

    features: list[Feature]
    targets: list[Feature]
    sample_weight: str | None

    @classmethod
    def of(cls, claim: Claim) -> "Columns":
        """As the claim's spec names them."""
        target = claim.spec["target"]
        return cls(
            features=encode(claim.spec["features"], claim.columns),
            targets=[Feature(name) for name in ([target] if isinstance(target, str) else target)],
            sample_weight=claim.spec["sample_weight"],
        )

    @property
    def names(self) -> list[str]:
        """Every column that is read, once."""
        used = [feature.column for feature in (*self.features, *self.targets)]
        weight = [] if self.sample_weight is None else [self.sample_weight]
        return list(dict.fromkeys([*used, *weight]))

    def shape(self, n_rows: int) -> Shape:
        """How large so many rows are to the engine."""
        weighted = self.sample_weight is not None
        return Shape(n_rows, len(self.features), len(self.targets), weighted)

    def data(self, block: pa.RecordBatch) -> Data:
        """The block's rows as the engine takes them."""
        weight = self.sample_weight
        return Data(
            x=matrix(block, self.features),
            y=matrix(block, self.targets),
            weight=None if weight is None else block.column(weight).to_numpy(),
        )


class StoredRows:
    """A stored table's rows, read as they are asked for. See `workers.engine.RowSource`."""

    def __init__(self, table: StoredTable, columns: Columns) -> None:
        self._table = table
        self._columns = columns
        self._block_rows = table.block_rows
        self._kept: tuple[int, pa.RecordBatch] | None = None
        self.shape = columns.shape(table.n_rows)
        self.weighted = self.shape.weighted

    def read(self, first: int, stop: int) -> Data:
        """The rows [first, stop), in order."""
        parts = []
        for i in range(first // self._block_rows, -(-stop // self._block_rows)):
            offset = i * self._block_rows
            begin = max(first - offset, 0)
            parts.append(self._block(i).slice(begin, stop - offset - begin))
        (rows,) = pa.Table.from_batches(parts).combine_chunks().to_batches()
        return self._columns.data(rows)

    def _block(self, i: int) -> pa.RecordBatch:
        # Reads go forward in steps that need not be blocks: the last one is asked for again.
        if self._kept is None or self._kept[0] != i:
            self._kept = (i, self._table.block(i))
        return self._kept[1]


@contextmanager
def opened_data(context: Context, claim: Claim) -> Iterator[Data | RowSource]:
    """The claim's rows: in memory, or read from the store where they are too many for that."""
    columns = Columns.of(claim)
    if not is_streamed(columns.shape(claim.n_rows)):
        yield columns.data(_load(context, claim.storage_key, columns.names))
        return
    with (
        context.storage.local(claim.storage_key) as path,
        StoredTable(path, columns.names) as table,
    ):
        yield StoredRows(table, columns)


def _load(context: Context, storage_key: str, names: Sequence[str]) -> pa.RecordBatch:
    """The table; small ones are kept whole, for a grader's thousand fits share one.

    A stored object never changes, so that a kept table is never stale.
    """
    if storage_key in _tables:
        _tables.move_to_end(storage_key)
        return _tables[storage_key]
    with context.storage.local(storage_key) as path:
        if path.stat().st_size > _LARGEST_KEPT_BYTES:
            return _read(path, names)
        table = _read(path, None)
    _tables[storage_key] = table
    if len(_tables) > _KEPT_TABLES:
        _tables.popitem(last=False)
    return table


def _read(path: Any, names: Sequence[str] | None) -> pa.RecordBatch:
    with StoredTable(path, names) as stored:
        (block,) = pa.Table.from_batches(stored.blocks()).combine_chunks().to_batches()
    return block


def sample_columns(
    context: Context, storage_key: str, names: Sequence[str], most_rows: int
) -> list[NDArray[np.float64]]:
    """At most so many evenly kept rows of number columns, each (m,) float64."""
    with context.storage.local(storage_key) as path, StoredTable(path, names) as table:
        n_rows, block_rows = table.n_rows, table.block_rows
        kept = np.unique(np.linspace(0, n_rows - 1, min(n_rows, most_rows)).round().astype(int))
        parts = [
            block.take(pa.array(kept[kept // block_rows == i] - i * block_rows))
            for i, block in enumerate(table.blocks())
        ]
    sampled = pa.Table.from_batches(parts)
    return [sampled.column(name).to_numpy() for name in names]
