"""Bytes of an accepted format → one validated columnar table, its summary and digest."""

import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NoReturn

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from numpy.typing import NDArray

from service.errors import InvalidTable, Place

Float64Array = NDArray[np.float64]

MOST_PLACES = 20


@dataclass(frozen=True)
class Table:
    """Columns of numbers: `columns[i]` is (n_rows,) float64, finite, under `names[i]`."""

    names: tuple[str, ...]
    columns: tuple[Float64Array, ...]

    @property
    def n_rows(self) -> int:
        """Rows, the same in every column."""
        return len(self.columns[0])

    def digest(self) -> str:
        """`sha256:…` of names, row count and the columns' little-endian float64 bytes."""
        hashes = [
            hashlib.sha256(column.astype("<f8").tobytes()).hexdigest() for column in self.columns
        ]
        head = {"n_rows": self.n_rows, "columns": list(zip(self.names, hashes, strict=True))}
        return "sha256:" + hashlib.sha256(orjson.dumps(head)).hexdigest()

    def summary(self) -> list[dict[str, Any]]:
        """One object a column: name, type, min, max, mean, std (population), n_distinct."""
        return [
            _column_summary(name, column)
            for name, column in zip(self.names, self.columns, strict=True)
        ]

    def matrix(self, names: Sequence[str]) -> Float64Array:
        """The named columns side by side, (n_rows, len(names)) float64, C order."""
        places = {name: i for i, name in enumerate(self.names)}
        return np.column_stack([self.columns[places[name]] for name in names])


def _column_summary(name: str, column: Float64Array) -> dict[str, Any]:
    # Scaling first keeps the mean and the spread of very large numbers from overflowing.
    scale = float(np.abs(column).max()) or 1.0
    scaled = column / scale
    return {
        "name": name,
        "type": "number",
        "min": float(column.min()),
        "max": float(column.max()),
        "mean": float(scaled.mean()) * scale,
        "std": float(scaled.std()) * scale,
        "n_distinct": len(np.unique(column)),
    }


def from_columns(
    columns: Mapping[str, Sequence[float]], *, pointer: str = "/columns", most_rows: int
) -> Table:
    """The table of a JSON body's columns, which stand at `pointer`.

    Every column has a row at least. Raises InvalidTable where their lengths differ or are past
    `most_rows`.
    """
    lengths = {name: len(values) for name, values in columns.items()}
    n_rows = max(lengths.values())
    ragged = [
        Place(
            "ragged_column", f"has {n} rows where others have {n_rows}", f"{pointer}/{_token(name)}"
        )
        for name, n in lengths.items()
        if n != n_rows
    ]
    if ragged:
        raise InvalidTable(
            "every column needs the same number of rows", places=ragged[:MOST_PLACES]
        )
    if n_rows > most_rows:
        detail = f"{n_rows} rows are past the limit of {most_rows} (THALWEG_MAX_INLINE_ROWS)"
        raise InvalidTable(detail, places=[Place("too_many_rows", detail, pointer)])
    return Table(tuple(columns), tuple(np.array(v, dtype=np.float64) for v in columns.values()))


def _token(name: str) -> str:
    """The name as a part of a JSON Pointer."""
    return name.replace("~", "~0").replace("/", "~1")


def read_csv(source: bytes, *, delimiter: str = ",", header: bool = True) -> Table:
    """The table of a CSV file in UTF-8; without a header the columns are `0`, `1`, ….

    Raises InvalidTable with the row (of the data, from 0) and column of what cannot be read.
    """
    _refuse_other_encodings(source)
    arrow = _read_cells(source, delimiter, header)
    names = tuple(arrow.column_names) if header else tuple(map(str, range(arrow.num_columns)))
    _refuse_bad_names(names)
    if arrow.num_rows == 0:
        raise InvalidTable("the table has no rows", places=[Place("no_rows", "no rows")])
    places: list[Place] = []
    columns = [_numbers(n, c, places) for n, c in zip(names, arrow.columns, strict=True)]
    if places:
        _refuse(places)
    return Table(names, tuple(columns))


def _refuse_other_encodings(source: bytes) -> None:
    try:
        source.decode()
    except UnicodeDecodeError as error:
        line = source.count(b"\n", 0, error.start) + 1
        raise InvalidTable(f"line {line} is not UTF-8") from error


def _read_cells(source: bytes, delimiter: str, header: bool) -> pa.Table:
    """The cells as float64, or as text where some cell is no number."""
    try:
        return _parse_csv(source, delimiter, header, pa.float64())
    except pa.ArrowInvalid:
        pass  # Read again as text, which finds the row and column to name.
    try:
        return _parse_csv(source, delimiter, header, pa.string())
    except pa.ArrowInvalid as error:
        raise InvalidTable(f"the CSV cannot be read: {error}") from error


def _parse_csv(source: bytes, delimiter: str, header: bool, cell_type: pa.DataType) -> pa.Table:
    ragged: list[Place] = []

    def note(row: Any) -> str:
        detail = f"has {row.actual_columns} fields where {row.expected_columns} are expected"
        ragged.append(Place("ragged_row", detail, row=row.number - (2 if header else 1)))
        return "skip"

    table = pyarrow.csv.read_csv(
        io.BytesIO(source),
        # One thread keeps the row numbers that `note` is told.
        read_options=pyarrow.csv.ReadOptions(
            use_threads=False, autogenerate_column_names=not header
        ),
        parse_options=pyarrow.csv.ParseOptions(
            delimiter=delimiter, newlines_in_values=True, invalid_row_handler=note
        ),
        convert_options=pyarrow.csv.ConvertOptions(default_column_type=cell_type, null_values=[]),
    )
    if ragged:
        _refuse(ragged)
    return table


def _refuse_bad_names(names: Sequence[str]) -> None:
    places = [
        Place("empty_column_name", f"column {i} has no name", column=name)
        for i, name in enumerate(names)
        if not name.strip()
    ]
    places += [
        Place("duplicate_column_name", f"{name!r} names more than one column", column=name)
        for name in sorted({name for name in names if names.count(name) > 1})
    ]
    if places:
        _refuse(places)


def _numbers(name: str, column: pa.ChunkedArray, places: list[Place]) -> Float64Array:
    """The column as float64; what is no finite number is added to `places`."""
    try:
        values = np.asarray(pc.cast(column, pa.float64()).to_numpy(), dtype=np.float64)
    except pa.ArrowInvalid:
        places.extend(islice(_text_places(name, column), MOST_PLACES))
        return np.empty(0)
    for row in np.flatnonzero(~np.isfinite(values))[:MOST_PLACES]:
        places.append(Place("not_finite", "a finite number is needed", row=int(row), column=name))
    return values


def _text_places(name: str, column: pa.ChunkedArray) -> Iterator[Place]:
    for row, cell in enumerate(column):
        text = cell.as_py().strip()
        if text == "":
            yield Place("missing_value", "a value is missing", row=row, column=name)
        elif not _is_number(text):
            yield Place("not_a_number", f"{text[:50]!r} is not a number", row=row, column=name)


def _is_number(text: str) -> bool:
    try:
        pa.scalar(text).cast(pa.float64())
    except pa.ArrowInvalid:
        return False
    return True


def _refuse(places: Sequence[Place]) -> NoReturn:
    first = places[0]
    where = ", ".join(
        f"{word} {value}"
        for word, value in (("row", first.row), ("column", first.column))
        if value is not None
    )
    raise InvalidTable(f"{where}: {first.detail}", places=places[:MOST_PLACES])


def to_arrow(table: Table) -> bytes:
    """The table as an Arrow IPC file, the form in which the object store keeps it."""
    arrow = pa.table([pa.array(c) for c in table.columns], names=list(table.names))
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, arrow.schema) as writer:
        writer.write_table(arrow)
    return sink.getvalue()


def from_arrow(content: bytes) -> Table:
    """The table that `to_arrow` wrote."""
    with pa.ipc.open_file(pa.BufferReader(content)) as reader:
        arrow = reader.read_all()
    columns = tuple(np.asarray(c.to_numpy(), dtype=np.float64) for c in arrow.columns)
    return Table(tuple(arrow.column_names), columns)
