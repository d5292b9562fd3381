"""Tables as clients send them: the same one in every format."""

import io
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from service.schemas.datasets import DatasetRequest
from service.tables.canonical import Ingested
from service.tables.ingest import Missing, ingest
from service.tables.inline import inline_pieces
from service.tables.pieces import ReadOptions
from service.tables.reading import read_pieces

Columns = Mapping[str, Any]

ARROW = "application/vnd.apache.arrow"
CSV = "text/csv"
NDJSON = "application/x-ndjson"
PARQUET = "application/vnd.apache.parquet"
FILE = f"{ARROW}.file"
STREAM = f"{ARROW}.stream"
NPY = "application/x-npy"
NPZ = "application/x-npz"


def read(content: bytes, media_type: str, missing: Missing = "refuse", **options: Any) -> Ingested:
    """What is known of the uploaded table."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "upload"
        path.write_bytes(content)
        pieces = read_pieces(path, media_type, ReadOptions(**options))
        return ingest(pieces, missing, Path(directory) / "table.arrow")


def read_json(body: Mapping[str, Any], missing: Missing = "refuse") -> Ingested:
    """What is known of the table in a JSON body."""
    request = DatasetRequest.model_validate_json(orjson.dumps(body))
    with tempfile.TemporaryDirectory() as directory:
        target = Path(directory) / "table.arrow"
        return ingest(inline_pieces(request, 10_000_000), missing, target)


def saved(write: Callable[[io.BytesIO], object]) -> bytes:
    """What is written into the file that `write` is given."""
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


def as_csv(columns: Columns) -> bytes:
    """With a header; every digit kept."""
    return saved(lambda file: pyarrow.csv.write_csv(pa.table(dict(columns)), file))


def as_ndjson(columns: Columns) -> bytes:
    """An object a line."""
    return b"\n".join(map(orjson.dumps, pa.table(dict(columns)).to_pylist()))


def as_parquet(columns: Columns, **options: Any) -> bytes:
    """A Parquet file."""
    table = pa.table(dict(columns))
    return saved(lambda file: pyarrow.parquet.write_table(table, file, **options))


def as_arrow(columns: Columns, *, file: bool = True, compression: str | None = None) -> bytes:
    """An Arrow file, or stream."""
    table = pa.table(dict(columns))
    begin = pa.ipc.new_file if file else pa.ipc.new_stream
    sink = io.BytesIO()
    with begin(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as out:
        out.write_table(table)
    return sink.getvalue()


def as_npz(columns: Columns) -> bytes:
    """A compressed archive of named arrays."""
    arrays = {name: np.asarray(values) for name, values in columns.items()}
    return saved(lambda file: np.savez_compressed(file, allow_pickle=False, **arrays))


# Every form that keeps a column's name and type.
FORMS: dict[str, Callable[[Columns], tuple[bytes, str]]] = {
    "csv": lambda columns: (as_csv(columns), CSV),
    "ndjson": lambda columns: (as_ndjson(columns), NDJSON),
    "parquet": lambda columns: (as_parquet(columns), PARQUET),
    "arrow file": lambda columns: (as_arrow(columns), FILE),
    "arrow file, zstd": lambda columns: (as_arrow(columns, compression="zstd"), FILE),
    "arrow stream": lambda columns: (as_arrow(columns, file=False), STREAM),
    "arrow stream, lz4": lambda columns: (
        as_arrow(columns, file=False, compression="lz4"),
        STREAM,
    ),
    "npz": lambda columns: (as_npz(columns), NPZ),
}
