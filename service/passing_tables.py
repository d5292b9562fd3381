"""Tables that an errand needs and nobody keeps."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from service.context import Context
from service.datasets import About, find_named_row, read_inline, read_table
from service.errors import Place
from service.ids import new_id
from service.pointers import pointer
from service.retention import ERRANDS
from service.schemas.datasets import DatasetRequest
from service.storage import discard
from service.tables.ingest import Missing
from service.tables.inline import point
from service.tables.pieces import Piece


def _as_it_is(place: Place) -> Place:
    """An uploaded table's rows and columns are what its client knows."""
    return place


@dataclass(frozen=True)
class PassingTable:
    """Where the table is, what it looks like, and under which keys its errand may put more.

    `place_of` turns a place in the table into one in what the client sent. `on_the_spot`: its
    columns were named for this request alone, so that an unknown name is a mistake.
    """

    row: Mapping[str, Any]
    storage_key: str
    prefix: str
    place_of: Callable[[Place], Place] = _as_it_is
    on_the_spot: bool = False

    @property
    def columns(self) -> list[dict[str, Any]]:
        """Its columns' summaries."""
        columns: list[dict[str, Any]] = self.row["columns"]
        return columns

    @property
    def n_rows(self) -> int:
        """How many rows it has."""
        return int(self.row["n_rows"])


@contextmanager
def passing_prefix(context: Context) -> Iterator[str]:
    """Below what keys an errand's tables may stand until the block's end."""
    prefix = f"{ERRANDS}/{new_id('table')}"
    try:
        yield prefix
    finally:
        discard(context.storage.delete_below, prefix)


@contextmanager
def passing_dataset(
    context: Context,
    given: str | DatasetRequest,
    owner: str,
    *above: str,
    missing: Missing = "refuse",
) -> Iterator[PassingTable]:
    """A dataset that is there, or one that the body holds, until the block's end.

    `above` leads to it from the body's root. Raises NotFound, Gone and InvalidTable.
    """
    with passing_prefix(context) as prefix:
        if isinstance(given, str):
            where = pointer(*above)
            row = find_named_row(context, given, owner, where)
            yield PassingTable(row, row["storage_key"], prefix, partial(replace, pointer=where))
            return
        with context.storage.scratch() as scratch:
            new = read_inline(context, given, owner, scratch, above=above, missing=missing)
            key = _put(context, prefix, new.path)
        yield PassingTable(new.row, key, prefix, partial(point, given, above))


@contextmanager
def passing_upload(
    context: Context, pieces: Iterator[Piece], owner: str, missing: Missing
) -> Iterator[PassingTable]:
    """An uploaded table, until the block's end; raises InvalidTable and TooLarge."""
    with passing_prefix(context) as prefix:
        with context.storage.scratch() as scratch:
            new = read_table(context, pieces, About(owner), missing, scratch)
            key = _put(context, prefix, new.path)
        yield PassingTable(new.row, key, prefix)


def _put(context: Context, prefix: str, path: Path) -> str:
    key = f"{prefix}/table.arrow"
    context.storage.put_file(key, path)
    return key
