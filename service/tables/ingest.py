"""Pieces of a table → the canonical file and what is known of it, in one pass."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from service.errors import Place
from service.tables.canonical import CanonicalWriter, Ingested, refuse_no_rows
from service.tables.columns import Mask
from service.tables.pieces import Piece
from service.tables.places import MOST_PLACES, refuse

Missing = Literal["refuse", "drop"]


def ingest(pieces: Iterator[Piece], missing: Missing, target: Path) -> Ingested:
    """Write the pieces of one table to `target`.

    Rows with a missing cell or a number that is not finite are refused or dropped. Raises
    InvalidTable with the places to mend.
    """
    kept = _Kept(pieces, missing)
    first = next(kept, None)
    if first is None:
        refuse_no_rows(kept.n_dropped)
    # A row that is kept has every cell, and so shows every column's kind.
    kinds = [cells.kind for cells in first.columns]
    with CanonicalWriter(target, first.names, kinds) as writer:
        writer.add(first.columns)
        for piece in kept:
            writer.add(piece.columns)
        return writer.finish(kept.n_dropped)


class _Kept(Iterator[Piece]):
    """The pieces less the rows that a fit cannot use; counts them."""

    def __init__(self, pieces: Iterator[Piece], missing: Missing) -> None:
        self._pieces = pieces
        self._missing = missing
        self._first_row = 0
        self.n_dropped = 0

    def __next__(self) -> Piece:
        for piece in self._pieces:
            bad = np.logical_or.reduce([cells.bad for cells in piece.columns])
            n_bad = int(bad.sum())
            if n_bad and self._missing == "refuse":
                refuse(_bad_places(piece, self._first_row))
            self._first_row += len(bad)
            self.n_dropped += n_bad
            if n_bad < len(bad):
                return _without(piece, bad) if n_bad else piece
        raise StopIteration


def _without(piece: Piece, bad: Mask) -> Piece:
    return Piece(piece.names, tuple(cells.take(~bad) for cells in piece.columns))


def _bad_places(piece: Piece, first_row: int) -> Iterator[Place]:
    for name, cells in zip(piece.names, piece.columns, strict=True):
        for i in np.flatnonzero(cells.bad)[:MOST_PLACES]:
            gone = bool(cells.missing[i])
            code = "missing_value" if gone else "not_finite"
            detail = "a value is missing" if gone else "a finite number is needed"
            yield Place(code, detail, row=first_row + int(i), column=name)
