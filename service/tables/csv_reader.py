"""CSV in UTF-8: quoted fields, any line ends, a header or none."""

import codecs
from collections.abc import Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv

from service.errors import InvalidTable, Place
from service.tables.columns import Kind, from_text
from service.tables.pieces import Piece, ReadOptions
from service.tables.places import MOST_PLACES, refuse, refuse_bad_names

_BLOCK_BYTES = 1024**2


def read_csv(path: Path, options: ReadOptions) -> Iterator[Piece]:
    """The file's rows; raises InvalidTable with the row (of the data, from 0) and column."""
    # Before Arrow looks at it, for what it says of a ragged row must be text.
    _refuse_other_encodings(path)
    ragged: list[Place] = []
    try:
        with _open(path, options, ragged) as pieces:
            names = tuple(pieces.schema.names)
            if not options.header:
                names = tuple(str(i) for i in range(len(names)))
            refuse_bad_names(names)
            yield from _pieces(names, pieces, ragged)
    except pa.ArrowInvalid as error:
        if ragged:
            refuse(ragged)
        _refuse_long_rows(error, path)
        raise InvalidTable(f"the CSV cannot be read: {error}") from error


def _open(path: Path, options: ReadOptions, ragged: list[Place]) -> Any:
    def note(row: Any) -> str:
        detail = f"has {row.actual_columns} fields where {row.expected_columns} are expected"
        ragged.append(Place("ragged_row", detail, row=row.number - (2 if options.header else 1)))
        return "skip" if len(ragged) < MOST_PLACES else "error"

    return pyarrow.csv.open_csv(
        str(path),
        # One thread keeps the row numbers that `note` is told.
        read_options=pyarrow.csv.ReadOptions(
            use_threads=False,
            block_size=_BLOCK_BYTES,
            autogenerate_column_names=not options.header,
        ),
        parse_options=pyarrow.csv.ParseOptions(
            delimiter=options.delimiter, newlines_in_values=True, invalid_row_handler=note
        ),
        convert_options=pyarrow.csv.ConvertOptions(default_column_type=pa.string(), null_values=[]),
    )


def _pieces(names: tuple[str, ...], pieces: Any, ragged: list[Place]) -> Iterator[Piece]:
    kinds: list[Kind | None] = [None] * len(names)
    first_row = 0
    for piece in pieces:
        if ragged:
            refuse(ragged)
        if not piece.num_rows:
            continue
        columns = tuple(
            from_text(name, array, kind, first_row)
            for name, array, kind in zip(names, piece.columns, kinds, strict=True)
        )
        kinds = [cells.settled(kind) for cells, kind in zip(columns, kinds, strict=True)]
        first_row += piece.num_rows
        yield Piece(names, columns)
    if ragged:
        refuse(ragged)


def _refuse_other_encodings(path: Path) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    n_lines = 1
    with path.open("rb") as file:
        for part in chain(iter(partial(file.read, _BLOCK_BYTES), b""), [b""]):
            try:
                decoder.decode(part, final=not part)
            except UnicodeDecodeError as error:
                n_lines += error.object.count(b"\n", 0, error.start)
                refuse([Place("invalid_utf8", f"line {n_lines} is not UTF-8")])
            n_lines += part.count(b"\n")


def _refuse_long_rows(error: pa.ArrowInvalid, path: Path) -> None:
    empty = "Empty CSV" in str(error) and path.stat().st_size > _BLOCK_BYTES
    if empty or "straddling" in str(error):
        detail = f"a row has more than {_BLOCK_BYTES} bytes, or a quote is never closed"
        refuse([Place("long_row", detail)])
    if "Empty CSV" in str(error):
        refuse([Place("no_columns", "the table is empty")])
