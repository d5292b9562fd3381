"""JSON's numbers, texts and nulls, by columns or by rows → pieces of a table."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from service.errors import Place
from service.tables.columns import Cells, Kind, numbers, texts
from service.tables.pieces import Piece, piece_rows
from service.tables.places import MOST_PLACES, refuse, refuse_bad_names, refuse_lengths

Row = dict[str, Any]

_TYPES: dict[Kind, frozenset[type]] = {
    "number": frozenset({int, float, type(None)}),
    "category": frozenset({str, type(None)}),
}
_NOUNS: dict[Kind, str] = {"number": "number", "category": "text"}


def columns_to_pieces(columns: Mapping[str, Sequence[Any]]) -> Iterator[Piece]:
    """Columns as a table; raises InvalidTable with the column, and the row (from 0)."""
    names = tuple(columns)
    refuse_bad_names(names)
    refuse_lengths({name: len(values) for name, values in columns.items()})
    whole = tuple(_cells(name, values, None, 0) for name, values in columns.items())
    yield Piece(names, whole)


def rows_to_pieces(chunks: Iterable[Sequence[Row]]) -> Iterator[Piece]:
    """Objects as a table, the first one's keys the columns.

    Raises InvalidTable with the row (from 0) and column.
    """
    names: tuple[str, ...] = ()
    kinds: list[Kind | None] = []
    first_row = 0
    for rows in chunks:
        if not kinds:
            names = tuple(rows[0])
            refuse_bad_names(names)
            kinds = [None] * len(names)
        _refuse_other_keys(rows, names, first_row)
        columns = tuple(
            _cells(name, [row[name] for row in rows], kind, first_row)
            for name, kind in zip(names, kinds, strict=True)
        )
        kinds = [cells.settled(kind) for cells, kind in zip(columns, kinds, strict=True)]
        first_row += len(rows)
        yield Piece(names, columns)


def in_chunks(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """Rows in memory, cut as `rows_to_pieces` takes them."""
    n_rows = piece_rows(max(1, len(rows[0]))) if rows else 1
    return (rows[first : first + n_rows] for first in range(0, len(rows), n_rows))


def _refuse_other_keys(rows: Sequence[Row], names: Sequence[str], first: int) -> None:
    expected = set(names)
    places = []
    for i, row in enumerate(rows):
        if row.keys() != expected:
            named = sorted(map(repr, row.keys() ^ expected))
            detail = f"has other fields than the first row: {', '.join(named[:5])}"
            places.append(Place("ragged_row", detail, row=first + i))
            if len(places) == MOST_PLACES:
                break
    if places:
        refuse(places)


def _cells(name: str, values: Sequence[Any], kind: Kind | None, first_row: int) -> Cells:
    """A column is of the kind of its first value that is not null; `1` in quotes is a text."""
    if kind is None:
        first = next((value for value in values if value is not None), 0.0)
        kind = "category" if isinstance(first, str) else "number"
    accepted = _TYPES[kind]
    # As a set of types a million values are looked at in some milliseconds.
    if not set(map(type, values)) <= accepted:
        refuse(
            Place("wrong_type", f"{_shown(v)} is no {_NOUNS[kind]}", row=first_row + i, column=name)
            for i, v in enumerate(values)
            if type(v) not in accepted
        )
    if kind == "category":
        return texts(name, pa.array(values, pa.string()), first_row)
    missing = np.fromiter((value is None for value in values), np.bool_, len(values))
    return numbers(_floats(values), missing)


def _floats(values: Sequence[float | None]) -> NDArray[np.float64]:
    try:
        return np.array(values, np.float64)
    except OverflowError:
        # An integer past float64's range.
        return np.array([_nearest(value) for value in values], np.float64)


def _nearest(value: float | None) -> float:
    try:
        return np.nan if value is None else float(value)
    except OverflowError:
        return np.inf


def _shown(value: Any) -> str:
    return json.dumps(value)[:50]
