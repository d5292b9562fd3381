"""A claim's dataset → the arrays that the engine takes."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self, TypeAlias

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from service.context import Context
from service.lifecycle import Claim
from service.retention import ERRANDS
from service.suitability import OF_CLASSES
from service.tables.encoding import Encoding, Feature, encode, matrix
from service.tables.stored import StoredTable
from workers.engine import Data, RowSource, Shape, SpecificationError, is_streamed

_KEPT_TABLES = 16
_LARGEST_KEPT_BYTES = 16 * 1024**2
_LARGEST_WHOLE = 2**53

_tables: OrderedDict[str, pa.RecordBatch] = OrderedDict()


Label = str | int | float
Table: TypeAlias = pa.RecordBatch | StoredTable


@dataclass(frozen=True)
class Columns:
    """Which columns of a table are features, targets and weights; `classes` are the target's."""

    features: Encoding
    targets: list[str]
    sample_weight: str | None
    scored: bool
    of_classes: bool
    classes: list[Label] | None = None
    # Where a class that is none of them came from, for the error.
    at: str = "/validation/dataset"

    @classmethod
    def of(
        cls,
        spec: Mapping[str, Any],
        columns: Sequence[Mapping[str, Any]],
        classes: list[Label] | None = None,
    ) -> "Columns":
        """As a resolved spec names them; `columns` are its dataset's own summaries."""
        target = spec["target"]
        return cls(
            features=encode(spec["features"], columns, spec["model"]),
            targets=[target] if isinstance(target, str) else target,
            sample_weight=spec["sample_weight"],
            scored=spec["loss"]["kind"] == "cross_entropy",
            of_classes=spec["loss"]["kind"] in OF_CLASSES,
            classes=classes,
        )

    def with_classes(self, table: Table) -> "Columns":
        """The same, with the classes that the table's rows have, where the target is one."""
        if not self.of_classes:
            return self
        return replace(self, classes=_classes(table, self.targets[0]))

    @property
    def names(self) -> list[str]:
        """Every column that is read, once."""
        weight = [] if self.sample_weight is None else [self.sample_weight]
        used = [*self.features.columns, *self.targets, *weight]
        return list(dict.fromkeys(used))

    def shape(self, n_rows: int) -> Shape:
        """How large so many rows are to the engine."""
        weighted = self.sample_weight is not None
        return Shape(n_rows, len(self.features), len(self.targets), weighted, self._n_scores)

    @property
    def _n_scores(self) -> int | None:
        """The classes that the model scores one by one; a loss of two reads them as 0 and 1."""
        return len(self.classes) if self.classes is not None and self.scored else None

    def data(self, block: pa.RecordBatch) -> Data:
        """The block's rows as the engine takes them."""
        if self.classes is None:
            y = matrix(block, [Feature(name) for name in self.targets])
        else:
            # A class is the number of its place among the sorted ones.
            cells = block.column(self.targets[0])
            places = pc.index_in(cells, value_set=pa.array(self.classes, cells.type))
            self._refuse_unknown(cells, places)
            y = places.to_numpy()[:, None].astype(np.float64)
        weight = self.sample_weight
        return Data(
            x=self.features.matrix(block),
            y=y,
            weight=None if weight is None else block.column(weight).to_numpy(),
            n_classes=self._n_scores,
        )

    def _refuse_unknown(self, cells: pa.Array, places: pa.Array) -> None:
        if places.null_count:
            unknown = cells.filter(places.is_null())[0].as_py()
            detail = f"{self.targets[0]!r} has {unknown!r}, no class of the fit's own dataset"
            raise SpecificationError(self.at, detail)


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
        kept = self._kept
        if kept is None or kept[0] != i:
            # Another thread may keep another one meanwhile.
            kept = self._kept = (i, self._table.block(i))
        return kept[1]


@dataclass(frozen=True)
class Loaded:
    """A claim's rows, the columns that they are of, and the rows held out beside them, if any."""

    rows: Data | RowSource
    columns: Columns
    held_out: Data | RowSource | None = None

    @property
    def classes(self) -> list[Label] | None:
        """The sorted classes of the target, if any."""
        return self.columns.classes


class OpenedData:
    """The rows of claims, one after the other: those that the last claim had are not read again."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._stack = ExitStack()
        self._key: bytes | None = None
        self._loaded: Loaded | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._forget()

    def of(self, claim: Claim) -> Loaded:
        """The claim's rows: in memory, or read from the store where they are too many for that."""
        key = _rows_key(claim)
        if self._loaded is None or key != self._key:
            self._forget()
            self._loaded, self._key = _load_rows(self._context, claim, self._stack), key
        return self._loaded

    def _forget(self) -> None:
        self._loaded = None
        self._stack.close()


def _rows_key(claim: Claim) -> bytes:
    """All that a claim's rows depend on."""
    spec = claim.spec
    names = ("features", "target", "sample_weight", "model", "loss", "validation")
    return orjson.dumps([claim.storage_key, *(spec[name] for name in names)])


def _load_rows(context: Context, claim: Claim, stack: ExitStack) -> Loaded:
    columns = Columns.of(claim.spec, claim.columns)
    table = _opened(context, columns, claim.storage_key, claim.n_rows, stack)
    columns = columns.with_classes(table)
    held_out = None
    if claim.validation is not None:
        key, n_rows = claim.validation.storage_key, claim.validation.n_rows
        held_out = _rows(_opened(context, columns, key, n_rows, stack), columns)
    return Loaded(_rows(table, columns), columns, held_out)


@contextmanager
def opened_rows(
    context: Context, columns: Columns, storage_key: str, n_rows: int
) -> Iterator[Data | RowSource]:
    """A table's rows: in memory, or read from the store where they are too many for that.

    Classes that the columns do not name are those that the rows have.
    """
    with ExitStack() as stack:
        table = _opened(context, columns, storage_key, n_rows, stack)
        yield _rows(table, columns if columns.classes else columns.with_classes(table))


def _opened(
    context: Context, columns: Columns, storage_key: str, n_rows: int, stack: ExitStack
) -> Table:
    """The table in memory, or, where that is too much, open until the stack ends."""
    if not is_streamed(columns.shape(n_rows)):
        return _load(context, storage_key, columns.names)
    path = stack.enter_context(context.storage.local(storage_key))
    return stack.enter_context(StoredTable(path, columns.names))


def _rows(table: Table, columns: Columns) -> Data | RowSource:
    return StoredRows(table, columns) if isinstance(table, StoredTable) else columns.data(table)


def _classes(table: Table, name: str) -> list[Label]:
    """The different cells of the column, sorted; whole numbers without a point."""
    if not isinstance(table, StoredTable):
        return _distinct([table], name)
    with table.only(name) as target:
        return _distinct(target.blocks(), name)


def _distinct(blocks: Iterable[pa.RecordBatch], name: str) -> list[Label]:
    found: set[Any] = set()
    for block in blocks:
        # 0 and -0 are one class.
        cells = pc.unique(block.column(name)).to_pylist()
        found.update(cell + 0.0 if isinstance(cell, float) else cell for cell in cells)
    return [int(cell) if _is_whole(cell) else cell for cell in sorted(found)]


def _is_whole(cell: Any) -> bool:
    """Larger numbers than these are whole for want of digits, and too large for many readers."""
    return isinstance(cell, float) and cell.is_integer() and abs(cell) <= _LARGEST_WHOLE


def _load(context: Context, storage_key: str, names: Sequence[str]) -> pa.RecordBatch:
    """The table; small ones are kept whole, for a grader's thousand fits share one.

    A stored object never changes, so that a kept table is never stale. What came with a request
    is asked for once.
    """
    if storage_key in _tables:
        _tables.move_to_end(storage_key)
        return _tables[storage_key]
    with context.storage.local(storage_key) as path:
        passing = storage_key.startswith(f"{ERRANDS}/")
        if passing or path.stat().st_size > _LARGEST_KEPT_BYTES:
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
