"""Whether a table has what a fitted model reads of it."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow.compute as pc

from service.context import Context
from service.errors import InvalidInput, Place
from service.passing_tables import PassingTable
from service.storage import MissingObject
from service.suitability import Columns, difference, unknown_texts
from service.tables.places import MOST_PLACES
from service.tables.stored import StoredTable

_MOST_NAMED = 10


def refuse_unsuitable(
    context: Context, table: PassingTable, names: Sequence[str], columns: Columns
) -> None:
    """Raise InvalidInput where the table cannot give the named columns of a fit's dataset.

    `columns` are that dataset's summaries, by name. The places are in what the client sent.
    """
    places = [*_unknown_places(table, columns), *_unsuitable_places(context, table, names, columns)]
    if places:
        shown = [table.place_of(place) for place in places[:MOST_PLACES]]
        raise InvalidInput(places[0].detail, places=shown)


def _unknown_places(table: PassingTable, columns: Columns) -> Iterator[Place]:
    if not table.on_the_spot:
        return
    for name in (column["name"] for column in table.columns):
        if name not in columns:
            close = difflib.get_close_matches(name, columns, n=1)
            guess = f"; did you mean {close[0]!r}?" if close else ""
            yield Place("unknown_column", f"the fit has no column {name!r}{guess}", column=name)


def _unsuitable_places(
    context: Context, table: PassingTable, names: Sequence[str], columns: Columns
) -> Iterator[Place]:
    there = {column["name"]: column for column in table.columns}
    for name in names:
        detail = difference(columns[name], there.get(name))
        if detail is None:
            continue
        if name not in there:
            yield Place("missing_column", f"{detail}; there are {_listed(there)}", column=name)
        elif columns[name]["type"] != there[name]["type"]:
            yield Place("unsuitable_column", detail, column=name)
        else:
            unknown = unknown_texts(columns[name], there[name])
            row = _first_row(context, table, name, unknown[0])
            yield Place("unknown_category", detail, row=row, column=name)


def _listed(there: Mapping[str, Any]) -> str:
    more = ", …" if len(there) > _MOST_NAMED else ""
    return ", ".join(map(repr, list(there)[:_MOST_NAMED])) + more


def _first_row(context: Context, table: PassingTable, name: str, text: str) -> int | None:
    """The first row that has the text; None where rows may have been dropped before it."""
    if table.row["n_dropped"]:
        return None
    first = 0
    try:
        with context.storage.local(table.storage_key) as path, StoredTable(path, [name]) as stored:
            for block in stored.blocks():
                place = pc.index(block.column(0), text).as_py()
                if place >= 0:
                    return first + int(place)
                first += block.num_rows
    except MissingObject:
        # The dataset was deleted meanwhile; what it lacked is no less told.
        return None
    return None
