"""A batch's results, a row a fit, in memory that does not grow with the batch."""

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from tempfile import SpooledTemporaryFile
from typing import IO, Any

import orjson
import pyarrow as pa
import pyarrow.parquet

from service.batches import find_row
from service.context import Context
from service.database import batches as queries
from service.scores import score
from service.spec_paths import value_at
from service.tables.writers import Outbox

_ROWS_AT_ONCE = 100
_ROWS_A_GROUP = 1_000
_SPOOLED_BYTES = 16 * 1024**2

Result = dict[str, Any]
Flat = dict[str, Any]
# The columns by name, in their order, each with the kind of all its values.
Columns = Mapping[str, str]


def read_results(context: Context, batch_id: str, form: str, owner: str) -> Iterator[bytes]:
    """The results in one of `FORMS`, in pieces; raises NotFound and Gone."""
    batch = find_row(context, batch_id, owner)
    return FORMS[form](_results(context, batch_id, batch["varied"], batch["metric"]))


def _results(context: Context, batch_id: str, varied: list[str], metric: str) -> Iterator[Result]:
    for row in _rows(context, batch_id):
        result = row.result or {}
        yield {
            "id": row.id,
            "status": row.status,
            "stop_reason": row.stop_reason,
            "varied": {path: value_at(row.spec, path) for path in varied},
            "final_loss": result.get("final_loss"),
            # As the batch's `best`: no other fit than a success can be it.
            "score": score(row.result, metric) if row.status == "succeeded" else None,
            "metrics": result.get("metrics"),
            "coefficients": result.get("coefficients"),
            "error": row.error and row.error["code"],
        }


def _rows(context: Context, batch_id: str) -> Iterator[Any]:
    after = ""
    while True:
        # A connection a page: whoever reads slowly would keep one from everybody else.
        with context.database.read() as connection:
            page = queries.page_of_results(connection, batch_id, after=after, at_most=_ROWS_AT_ONCE)
        yield from page
        if len(page) < _ROWS_AT_ONCE:
            return
        after = page[-1].id


def _ndjson(results: Iterator[Result]) -> Iterator[bytes]:
    for result in results:
        yield orjson.dumps(result, option=orjson.OPT_APPEND_NEWLINE)


def _csv(results: Iterator[Result]) -> Iterator[bytes]:
    with SpooledTemporaryFile(_SPOOLED_BYTES) as spool:
        columns = _spooled(results, spool)
        yield _line(columns)
        for row in map(orjson.loads, spool):
            yield _line(_cell(row.get(name)) for name in columns)


def _parquet(results: Iterator[Result]) -> Iterator[bytes]:
    with SpooledTemporaryFile(_SPOOLED_BYTES) as spool:
        columns = _spooled(results, spool)
        schema = pa.schema([(name, _TYPES[kind]) for name, kind in columns.items()])
        with Outbox() as out, pyarrow.parquet.ParquetWriter(out.sink, schema) as writer:
            rows: list[Flat] = []
            for line in spool:
                rows.append(orjson.loads(line))
                if len(rows) == _ROWS_A_GROUP:
                    writer.write_table(_table(rows, columns, schema))
                    rows.clear()
                    yield out.take()
            if rows:
                writer.write_table(_table(rows, columns, schema))
            writer.close()
            yield out.take()


# One entry a format.
FORMS: Mapping[str, Callable[[Iterator[Result]], Iterator[bytes]]] = {
    "ndjson": _ndjson,
    "csv": _csv,
    "parquet": _parquet,
}
_TYPES = {
    "null": pa.float64(),
    "bool": pa.bool_(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "text": pa.string(),
}


def _spooled(results: Iterator[Result], spool: IO[bytes]) -> Columns:
    """Write each result as a flat line: which columns there are is known once all were seen."""
    # Another fit may have features of its own: columns of one part stay together.
    parts: dict[str, dict[str, str]] = {}
    for result in results:
        flat = _flat(result)
        for part, row in flat.items():
            kinds = parts.setdefault(part, {})
            for name, value in row.items():
                kinds[name] = _wider(kinds.get(name, "null"), _kind(value))
        merged = {name: value for row in flat.values() for name, value in row.items()}
        spool.write(orjson.dumps(merged, option=orjson.OPT_APPEND_NEWLINE))
    spool.seek(0)
    return {name: kind for kinds in parts.values() for name, kind in kinds.items()}


def _flat(result: Result) -> dict[str, Flat]:
    """The result's columns, part by part: `optimizer.lr`, `train.mse`, `coefficients.x`."""
    metrics = result["metrics"] or {}
    return {
        "fit": {name: result[name] for name in ("id", "status", "stop_reason", "error")},
        "varied": {name: _simple(value) for name, value in result["varied"].items()},
        "loss": {name: result[name] for name in ("final_loss", "score")},
        **{rows: _prefixed(rows, metrics.get(rows)) for rows in ("train", "validation")},
        "coefficients": _prefixed("coefficients", result["coefficients"]),
    }


def _prefixed(above: str, values: Mapping[str, Any] | None) -> Flat:
    """By dotted names; those of several targets or classes stand below each."""
    row: Flat = {}
    for name, value in (values or {}).items():
        if isinstance(value, dict):
            row |= _prefixed(f"{above}.{name}", value)
        else:
            row[f"{above}.{name}"] = _simple(value)
    return row


def _simple(value: Any) -> Any:
    """Lists and objects as JSON."""
    return orjson.dumps(value).decode() if isinstance(value, list | dict) else value


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    return {int: "integer", float: "number"}.get(type(value), "text")


def _wider(one: str, other: str) -> str:
    """The kind of a column that holds both."""
    if other in (one, "null"):
        return one
    if one == "null":
        return other
    return "number" if {one, other} == {"integer", "number"} else "text"


def _line(cells: Any) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    """A truth value as JSON has it."""
    return str(value).lower() if isinstance(value, bool) else value


def _table(rows: list[Flat], columns: Columns, schema: pa.Schema) -> pa.Table:
    arrays = {name: [_typed(row.get(name), kind) for row in rows] for name, kind in columns.items()}
    return pa.table(arrays, schema)


def _typed(value: Any, kind: str) -> Any:
    """A value of a column whose values are not all alike is text."""
    if kind == "text" and value is not None and not isinstance(value, str):
        return orjson.dumps(value).decode()
    return float(value) if kind == "number" and isinstance(value, int) else value
