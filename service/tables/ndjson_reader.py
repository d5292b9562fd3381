"""NDJSON: one object a line."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from service.errors import Place
from service.tables.json_values import Row, rows_to_pieces
from service.tables.pieces import PIECE_BYTES, Piece, ReadOptions
from service.tables.places import refuse

_LONGEST_LINE_BYTES = PIECE_BYTES
_CHUNK_LINES = 16_384


def read_ndjson(path: Path, _: ReadOptions) -> Iterator[Piece]:
    """The rows of the file's lines, the first one's keys the columns; blank lines are none.

    Raises InvalidTable with the row (from 0) of a line that is no object.
    """
    return rows_to_pieces(_chunks(path))


def _chunks(path: Path) -> Iterator[list[Row]]:
    """The lines as objects, as many at once as memory allows."""
    rows: list[Row] = []
    n_bytes = n_before = 0
    with path.open("rb") as file:
        while line := file.readline(_LONGEST_LINE_BYTES + 1):
            if not line.strip():
                continue
            rows.append(_parsed(line, n_before + len(rows)))
            n_bytes += len(line)
            if n_bytes > PIECE_BYTES or len(rows) == _CHUNK_LINES:
                yield rows
                n_before += len(rows)
                rows, n_bytes = [], 0
    if rows:
        yield rows


def _parsed(line: bytes, row: int) -> dict[str, Any]:
    if len(line) > _LONGEST_LINE_BYTES:
        detail = f"a line has more than {_LONGEST_LINE_BYTES} bytes"
        refuse([Place("long_row", detail, row=row)])
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        refuse([Place("malformed_line", f"no JSON: {error}", row=row)])
    if not isinstance(value, dict):
        refuse([Place("malformed_line", "the line is no JSON object", row=row)])
    return value
