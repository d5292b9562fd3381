"""Where a table is wrong: the first few places, in bounded time however many there are."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import NoReturn

from service.errors import InvalidTable, Place

MOST_PLACES = 20
MOST_COLUMNS = 10_000
_LONGEST_NAME = 200


def refuse(places: Iterable[Place]) -> NoReturn:
    """Raise InvalidTable with the first places; its detail is the first one's."""
    named = list(islice(places, MOST_PLACES))
    first = named[0]
    where = [
        f"{word} {value}"
        for word, value in (("row", first.row), ("column", first.column))
        if value not in {None, ""}
    ]
    detail = f"{', '.join(where)}: {first.detail}" if where else first.detail
    raise InvalidTable(detail, places=named)


def refuse_bad_names(names: Sequence[str]) -> None:
    """Raise InvalidTable where a name is empty, long or not unique, or the columns are too many."""
    if not names:
        refuse([Place("no_columns", "the table has no columns")])
    if len(names) > MOST_COLUMNS:
        detail = f"{len(names)} columns are past the limit of {MOST_COLUMNS}"
        refuse([Place("too_many_columns", detail)])
    seen: set[str] = set()
    places = []
    for i, name in enumerate(names):
        if not name.strip():
            places.append(Place("empty_column_name", f"column {i} has no name", column=name))
        elif len(name) > _LONGEST_NAME:
            detail = f"the name of column {i} has more than {_LONGEST_NAME} characters"
            places.append(Place("long_column_name", detail, column=name[:_LONGEST_NAME]))
        elif name in seen:
            detail = f"{name!r} names more than one column"
            places.append(Place("duplicate_column_name", detail, column=name))
        seen.add(name)
    if places:
        refuse(places)


def refuse_lengths(lengths: Mapping[str, int]) -> None:
    """Raise InvalidTable where the columns are not of one length."""
    longest = max(lengths.values())
    places = [
        Place("ragged_column", f"has {n} rows where others have {longest}", column=name)
        for name, n in lengths.items()
        if n != longest
    ]
    if places:
        refuse(places)
