"""A fitted model on new rows: what it says of them, and how good that is."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from service.context import Context
from service.database import datasets as dataset_queries
from service.errands import run_errand
from service.errors import Conflict, InvalidInput, InvalidTable, Place
from service.fits import find_row
from service.passing_tables import PassingTable, passing_dataset
from service.pointers import pointer
from service.schemas.datasets import DatasetRequest
from service.schemas.rows import EvaluationRequest, PredictionRequest
from service.suitability import missing_places
from service.tables.stored import StoredTable
from service.tables.writers import WRITERS

_JSON = "application/json"
# The forms in which predictions go out, the first one where the client does not care.
PREDICTION_TYPES = (_JSON, *(name for name in WRITERS if name != _JSON))


@dataclass(frozen=True)
class Predictions:
    """Predictions as a worker left them: a file, and what its columns are."""

    path: Path
    classes: list[Any] | None
    n_targets: int

    def pieces(self, media_type: str) -> Iterator[bytes]:
        """They in one of PREDICTION_TYPES."""
        with StoredTable(self.path) as table:
            writer = self._json if media_type == _JSON else WRITERS[media_type]
            yield from writer(table)

    def _json(self, table: StoredTable) -> Iterator[bytes]:
        yield b'{"predictions":' + b"".join(_rows(table, table.names[: self.n_targets]))
        if self.classes is not None:
            yield b',"classes":' + orjson.dumps(self.classes)
        likely = table.names[self.n_targets :]
        if likely:
            yield b',"probabilities":'
            yield from _rows(table, likely, nested=True)
        yield b"}"


def _rows(table: StoredTable, names: tuple[str, ...], *, nested: bool = False) -> Iterator[bytes]:
    """A JSON list of the rows: of lists where there are several columns, or where `nested`."""
    yield b"["
    for i, block in enumerate(table.blocks()):
        columns = [block.column(name).to_pylist() for name in names]
        rows = list(zip(*columns, strict=True)) if nested or len(names) > 1 else columns[0]
        yield b"," * (i > 0) + orjson.dumps(rows)[1:-1]
    yield b"]"


@contextmanager
def requested_rows(
    context: Context, request: PredictionRequest, owner: str
) -> Iterator[tuple[PassingTable, str]]:
    """The request's table, and the pointer to it; raises InvalidTable, NotFound and Gone."""
    with ExitStack() as stack:
        if request.dataset is not None:
            dataset = passing_dataset(context, request.dataset, owner, "dataset")
            yield stack.enter_context(dataset), "/dataset"
            return
        table = DatasetRequest(columns=request.features, rows=request.rows)
        try:
            passing = stack.enter_context(passing_dataset(context, table, owner))
        except InvalidTable as error:
            raise InvalidTable(error.detail, places=[*map(_renamed, error.places)]) from None
        yield passing, "/rows" if request.features is None else "/features"


def _renamed(place: Place) -> Place:
    """What a table calls columns, the request calls features."""
    where = place.pointer or ""
    if not where.startswith("/columns"):
        return place
    return Place(place.code, place.detail, "/features" + where.removeprefix("/columns"))


@contextmanager
def predicted(
    context: Context, fit_id: str, owner: str, table: PassingTable, where: str | None
) -> Iterator[Predictions]:
    """The model's predictions for the table's rows, until the block's end.

    `where` points to the table in a JSON body. Raises NotFound, Gone, Conflict before the fit's
    end, InvalidInput where the table lacks something, and what `run_errand` raises.
    """
    row, columns = _fitted(context, fit_id, owner)
    spec = row["spec"]
    places = missing_places(spec["features"], columns, table.columns, where)
    if where in ("/features", "/rows"):
        places += _unknown_places(spec, table, where)
    _refuse(places)
    to = f"{table.prefix}/predictions.arrow"
    told = run_errand(context, "predict", {"fit_id": fit_id, "table": table.storage_key, "to": to})
    with context.storage.local(to) as path:
        yield Predictions(path, told["classes"], told["n_targets"])


def _unknown_places(spec: Mapping[str, Any], table: PassingTable, where: str) -> list[Place]:
    """A misspelt feature must not pass for one that is not needed."""
    targets = spec["target"] if isinstance(spec["target"], list) else [spec["target"]]
    known = {*spec["features"], *targets, spec["sample_weight"]}
    names = [column["name"] for column in table.columns]
    inside = (where[1:],) if where == "/features" else (where[1:], 0)
    return [
        Place("unknown_feature", f"the fit has no feature {name!r}", pointer(*inside, name))
        for name in names
        if name not in known
    ]


def evaluate(
    context: Context, fit_id: str, request: EvaluationRequest, owner: str
) -> dict[str, Any]:
    """The metrics and the loss on the request's dataset; raises as `predicted` does."""
    row, columns = _fitted(context, fit_id, owner)
    spec = row["spec"]
    targets = spec["target"] if isinstance(spec["target"], list) else [spec["target"]]
    weight = [] if spec["sample_weight"] is None else [spec["sample_weight"]]
    with passing_dataset(context, request.dataset, owner, "dataset") as table:
        used = [*spec["features"], *targets, *weight]
        _refuse(missing_places(used, columns, table.columns, "/dataset"))
        arguments = {"fit_id": fit_id, "table": table.storage_key, "n_rows": table.n_rows}
        return run_errand(context, "evaluate", arguments)


def _fitted(
    context: Context, fit_id: str, owner: str
) -> tuple[Mapping[str, Any], dict[str, Mapping[str, Any]]]:
    """The fit's row, and its dataset's columns by name."""
    row = find_row(context, fit_id, owner)
    if row["result"] is None:
        raise Conflict(f"the fit {fit_id} has no weights: it is {row['status']}")
    with context.database.read() as connection:
        columns = dataset_queries.find_columns(connection, row["dataset_id"])
    return row, {column["name"]: column for column in columns}


def _refuse(places: list[Place]) -> None:
    if places:
        raise InvalidInput(places[0].detail, places=places)
