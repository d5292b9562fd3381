"""A table inside a JSON body → pieces, and the places in it as pointers into the body."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from service.errors import InvalidTable, Place
from service.pointers import pointer
from service.schemas.datasets import DatasetRequest
from service.tables.columns import numbers
from service.tables.generators import generate
from service.tables.json_values import columns_to_pieces, in_chunks, rows_to_pieces
from service.tables.pieces import Piece

# A generator's table is drawn in memory: many columns leave room for fewer rows.
_FREE_COLUMNS = 20


def inline_pieces(request: DatasetRequest, most_rows: int) -> Iterator[Piece]:
    """The table in whichever form it is given; raises InvalidTable past `most_rows`."""
    if request.columns is not None:
        _refuse_rows(max(map(len, request.columns.values())), most_rows)
        return columns_to_pieces(request.columns)
    if request.rows is not None:
        _refuse_rows(len(request.rows), most_rows)
        return rows_to_pieces(in_chunks(request.rows))
    return _drawn(request, most_rows)


def _drawn(request: DatasetRequest, most_rows: int) -> Iterator[Piece]:
    if request.generator is None:
        raise AssertionError("the schema lets one form through")
    n_columns = request.generator.n_features + 1
    _refuse_rows(request.generator.n, most_rows * _FREE_COLUMNS // max(n_columns, _FREE_COLUMNS))
    columns = generate(request.generator)
    missing = np.zeros(request.generator.n, np.bool_)
    yield Piece(tuple(columns), tuple(numbers(values, missing) for values in columns.values()))


def _refuse_rows(n_rows: int, most_rows: int) -> None:
    if n_rows > most_rows:
        detail = f"{n_rows} rows are past the limit of {most_rows} (THALWEG_MAX_INLINE_ROWS)"
        raise InvalidTable(detail, places=[Place("too_many_rows", detail)])


@contextmanager
def pointing(request: DatasetRequest, *above: str) -> Iterator[None]:
    """Within the block a table's errors point into the body, where `above` leads to the table."""
    try:
        yield
    except InvalidTable as error:
        places = [point(request, above, place) for place in error.places]
        raise InvalidTable(error.detail, places=places) from None


def point(request: DatasetRequest, above: tuple[str, ...], place: Place) -> Place:
    """A place in the table, with the pointer to it in the body."""
    row = () if place.row is None else (place.row,)
    column = () if place.column is None else (place.column,)
    if request.columns is not None:
        # A row has no place of its own among columns.
        path: tuple[str | int, ...] = ("columns", *column, *(row if column else ()))
    elif request.rows is not None:
        path = ("rows", *(row or ((0,) if column else ())), *column)
    else:
        path = ("generator", *(("n",) if place.code == "too_many_rows" else ()))
    return replace(place, pointer=pointer(*above, *path))
