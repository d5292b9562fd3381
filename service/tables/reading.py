"""The readers by media type."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from service.errors import InvalidTable
from service.tables.array_readers import read_npy, read_npz
from service.tables.arrow_readers import read_arrow_file, read_arrow_stream, read_parquet
from service.tables.csv_reader import read_csv
from service.tables.ndjson_reader import read_ndjson
from service.tables.pieces import Piece, Reader, ReadOptions

# One entry a media type. JSON bodies are the contract's own, and read by its schemas.
READERS: dict[str, Reader] = {
    "text/csv": read_csv,
    "application/x-ndjson": read_ndjson,
    "application/vnd.apache.parquet": read_parquet,
    "application/vnd.apache.arrow.file": read_arrow_file,
    "application/vnd.apache.arrow.stream": read_arrow_stream,
    "application/x-npy": read_npy,
    "application/x-npz": read_npz,
}


def read_pieces(path: Path, media_type: str, options: ReadOptions) -> Iterator[Piece]:
    """The table in the file, piece by piece.

    Raises InvalidTable with the places to mend, TooLarge where it inflates past the limit.
    """
    try:
        yield from READERS[media_type](path, options)
    except (pa.ArrowException, MemoryError) as error:
        # What a broken file says of its own sizes can be asked of no machine.
        raise InvalidTable(f"the file cannot be read: {error}") from error
