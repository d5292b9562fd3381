"""A fitted model on new rows: what it says of them, and how good that is."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from service.context import Context
from service.database import datasets as dataset_queries
from service.errands import run_errand
from service.errors import Conflict, InvalidInput, InvalidTable, Place
from service.fits import find_row
from service.passing_tables import PassingTable, passing_dataset
from service.required_columns import refuse_unsuitable
from service.schemas.datasets import DatasetRequest
from service.schemas.rows import EvaluationRequest, PredictionRequest
from service.suitability import has_usable_weights
from service.tables.ingest import Missing
from service.tables.stored import StoredTable
from service.tables.writers import WRITERS

_JSON = "application/json"
# The forms in which predictions go out, the first one where the client does not care.
PREDICTION_TYPES = (_JSON, *(name for name in WRITERS if name != _JSON))


@dataclass(frozen=True)
class FittedModel:
    """A fit that has weights: its row, and its dataset's columns by name."""

    row: Mapping[str, Any]
    columns: Mapping[str, Mapping[str, Any]]

    @property
    def features(self) -> list[str]:
        """The columns that predictions need."""
        features: list[str] = self.row["spec"]["features"]
        return features

    @property
    def targets(self) -> list[str]:
        """The target columns."""
        target = self.row["spec"]["target"]
        return [target] if isinstance(target, str) else target

    @property
    def sample_weight(self) -> str | None:
        """The column by which rows count, if any."""
        weight: str | None = self.row["spec"]["sample_weight"]
        return weight


def find_fitted(context: Context, fit_id: str, owner: str) -> FittedModel:
    """The fit; raises NotFound, Gone, and Conflict where it has no weights."""
    row = find_row(context, fit_id, owner)
    if row["result"] is None:
        raise Conflict(f"the fit {fit_id} has no weights: it is {row['status']}")
    with context.database.read() as connection:
        columns = dataset_queries.find_columns(connection, row["dataset_id"])
    return FittedModel(row, {column["name"]: column for column in columns})


@dataclass(frozen=True)
class Predictions:
    """Predictions as a worker left them: a file, and what its columns are."""

    path: Path
    classes: list[Any] | None
    n_targets: int
    not_finite: int | None = None

    def pieces(self, media_type: str) -> Iterator[bytes]:
        """They in one of PREDICTION_TYPES."""
        with StoredTable(self.path) as table:
            writer = self._json if media_type == _JSON else WRITERS[media_type]
            yield from writer(table)

    def _json(self, table: StoredTable) -> Iterator[bytes]:
        yield b'{"predictions":'
        yield from _rows(table, table.names[: self.n_targets])
        if self.classes is not None:
            yield b',"classes":' + orjson.dumps(self.classes)
        likely = table.names[self.n_targets :]
        if likely:
            yield b',"probabilities":'
            yield from _rows(table, likely, nested=True)
        if self.not_finite is not None:
            yield b',"not_finite":' + orjson.dumps({"predictions": self.not_finite})
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
    context: Context, request: PredictionRequest, owner: str, missing: Missing
) -> Iterator[PassingTable]:
    """The request's table, until the block's end; raises InvalidTable, NotFound and Gone."""
    with ExitStack() as stack:
        if request.dataset is not None:
            yield stack.enter_context(
                passing_dataset(context, request.dataset, owner, "dataset", missing=missing)
            )
            return
        given = DatasetRequest(columns=request.features, rows=request.rows)
        try:
            table = stack.enter_context(passing_dataset(context, given, owner, missing=missing))
        except InvalidTable as error:
            raise InvalidTable(error.detail, places=[*map(_renamed, error.places)]) from None
        yield replace(
            table, place_of=lambda place: _renamed(table.place_of(place)), on_the_spot=True
        )


def _renamed(place: Place) -> Place:
    """What a table calls columns, the request calls features."""
    where = place.pointer or ""
    if not where.startswith("/columns"):
        return place
    return replace(place, pointer="/features" + where.removeprefix("/columns"))


@contextmanager
def predicted(context: Context, model: FittedModel, table: PassingTable) -> Iterator[Predictions]:
    """The model's predictions for the table's rows, until the block's end.

    Raises InvalidInput where the table lacks something, and what `run_errand` raises.
    """
    refuse_unsuitable(context, table, model.features, model.columns)
    to = f"{table.prefix}/predictions.arrow"
    arguments = {"fit_id": model.row["id"], "table": table.storage_key, "to": to}
    told = run_errand(context, "predict", arguments)
    with context.storage.local(to) as path:
        yield Predictions(path, told["classes"], told["n_targets"], told["not_finite"])


def evaluate(
    context: Context, fit_id: str, request: EvaluationRequest, owner: str
) -> dict[str, Any]:
    """The metrics and the loss on the request's dataset; raises as `predicted` does."""
    model = find_fitted(context, fit_id, owner)
    weight = [] if model.sample_weight is None else [model.sample_weight]
    with passing_dataset(context, request.dataset, owner, "dataset") as table:
        used = [*model.features, *model.targets, *weight]
        refuse_unsuitable(context, table, used, model.columns)
        _refuse_weights(table, model.sample_weight)
        arguments = {"fit_id": fit_id, "table": table.storage_key, "n_rows": table.n_rows}
        return run_errand(context, "evaluate", arguments)


def _refuse_weights(table: PassingTable, name: str | None) -> None:
    for column in table.columns:
        if column["name"] == name and not has_usable_weights(column):
            detail = f"the weights in {name!r} are 0 or more, and not all 0"
            place = Place("unusable_weights", detail, column=name)
            raise InvalidInput(detail, places=[table.place_of(place)])
