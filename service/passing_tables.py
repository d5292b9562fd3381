"""Tables that an errand needs and nobody keeps."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.context import Context
from service.datasets import About, find_named_row, read_inline, read_table
from service.ids import new_id
from service.pointers import pointer
from service.retention import ERRANDS
from service.schemas.datasets import DatasetRequest
from service.tables.ingest import Missing
from service.tables.pieces import Piece


@dataclass(frozen=True)
class PassingTable:
    """Where the table is, what it looks like, and under which keys its errand may put more."""

    row: Mapping[str, Any]
    storage_key: str
    prefix: str

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
def passing_dataset(
    context: Context, given: str | DatasetRequest, owner: str, *above: str
) -> Iterator[PassingTable]:
    """A dataset that is there, or one that the body holds, until the block's end.

    `above` leads to it from the body's root. Raises NotFound, Gone and InvalidTable.
    """
    with _room(context) as prefix:
        if isinstance(given, str):
            row = find_named_row(context, given, owner, pointer(*above))
            yield PassingTable(row, row["storage_key"], prefix)
            return
        with context.storage.scratch() as scratch:
            new = read_inline(context, given, owner, scratch, above=above)
            key = _put(context, prefix, new.path)
        yield PassingTable(new.row, key, prefix)


@contextmanager
def passing_upload(
    context: Context, pieces: Iterator[Piece], owner: str, missing: Missing
) -> Iterator[PassingTable]:
    """An uploaded table, until the block's end; raises InvalidTable and TooLarge."""
    with _room(context) as prefix:
        with context.storage.scratch() as scratch:
            new = read_table(context, pieces, About(owner), missing, scratch)
            key = _put(context, prefix, new.path)
        yield PassingTable(new.row, key, prefix)


@contextmanager
def _room(context: Context) -> Iterator[str]:
    prefix = f"{ERRANDS}/{new_id('table')}"
    try:
        yield prefix
    finally:
        context.storage.delete_below(prefix)


def _put(context: Context, prefix: str, path: Path) -> str:
    key = f"{prefix}/table.arrow"
    context.storage.put_file(key, path)
    return key
