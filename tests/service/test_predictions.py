"""Predictions before and after the worker: which rows are taken, and how answers are written."""

from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest

from service import datasets, fits
from service.context import Context
from service.errors import Conflict, Gone, InvalidInput, InvalidTable, NotFound
from service.passing_tables import PassingTable
from service.predictions import (
    PREDICTION_TYPES,
    FittedModel,
    Predictions,
    evaluate,
    find_fitted,
    requested_rows,
)
from service.required_columns import refuse_unsuitable
from service.schemas.datasets import DatasetRequest
from service.schemas.rows import EvaluationRequest, PredictionRequest
from tests.service.conftest import OWNER
from tests.service.test_lifecycle import submit
from tests.service.test_submission import ended

TABLE = DatasetRequest(columns={"x": [1.0, 2.0], "c": ["a", "b"], "w": [1.0, 1.0], "y": [2.0, 3.0]})


@pytest.fixture
def model(context: Context) -> FittedModel:
    fit_id = ended(context, TABLE, features=["x", "c"], sample_weight="w")
    return find_fitted(context, fit_id, OWNER)


def stored(path: Path, *blocks: dict[str, Any]) -> Path:
    batches = [pa.record_batch(block) for block in blocks]
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, batches[0].schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return path


def as_json(predictions: Predictions) -> Any:
    return orjson.loads(b"".join(predictions.pieces("application/json")))


def test_numbers_are_a_list_and_several_targets_lists(tmp_path: Path) -> None:
    one = stored(tmp_path / "1", {"prediction": [1.5, 2.0]}, {"prediction": [float("nan")]})
    two = stored(tmp_path / "2", {"y": [1.5, 2.0], "z": [0.0, float("inf")]})

    assert as_json(Predictions(one, None, 1)) == {"predictions": [1.5, 2.0, None]}
    assert as_json(Predictions(two, None, 2)) == {"predictions": [[1.5, 0.0], [2.0, None]]}


def test_classes_stand_beside_their_probabilities(tmp_path: Path) -> None:
    block: dict[str, Any] = {"prediction": ["b", "a"]}
    likely = {"probability=a": [0.25, 0.75], "probability=b": [0.75, 0.25]}
    path = stored(tmp_path / "1", block | likely, block | likely)
    alone = stored(tmp_path / "2", block)

    assert as_json(Predictions(path, ["a", "b"], 1)) == {
        "predictions": ["b", "a", "b", "a"],
        "classes": ["a", "b"],
        "probabilities": [[0.25, 0.75], [0.75, 0.25]] * 2,
    }
    assert as_json(Predictions(alone, ["a", "b"], 1)) == {
        "predictions": ["b", "a"], "classes": ["a", "b"],
    }  # fmt: skip


@pytest.mark.parametrize("media_type", PREDICTION_TYPES[1:])
def test_a_file_says_every_column(tmp_path: Path, media_type: str) -> None:
    path = stored(tmp_path / "1", {"y": [1.5], "z": [2.0]})

    content = b"".join(Predictions(path, None, 2).pieces(media_type))

    assert b"z" in content
    if media_type == "text/csv":
        assert content == b'"y","z"\n1.5,2\n'


def test_a_fit_without_weights_cannot_predict(context: Context, table: DatasetRequest) -> None:
    waiting = submit(context, table)["id"]
    deleted = ended(context, table)
    fits.delete_fit(context, deleted, OWNER)

    for fit_id, kind in (("fit_none", NotFound), (deleted, Gone), (waiting, Conflict)):
        with pytest.raises(kind):
            find_fitted(context, fit_id, OWNER)
    with pytest.raises(NotFound):
        find_fitted(context, ended(context, table), "another")


def told(context: Context, model: FittedModel, **request: Any) -> list[tuple[str, str | None]]:
    """The places that the request's rows are refused with."""
    asked = PredictionRequest.model_validate(request)
    with (
        pytest.raises(InvalidInput) as error,
        requested_rows(context, asked, OWNER, "refuse") as table,
    ):
        refuse_unsuitable(context, table, model.features, model.columns)
    return [(place.code, place.pointer) for place in error.value.places]


def test_columns_of_the_fits_dataset_may_stand_beside_the_features(
    context: Context, model: FittedModel
) -> None:
    everything = PredictionRequest.model_validate({"features": TABLE.columns})

    with requested_rows(context, everything, OWNER, "refuse") as table:
        refuse_unsuitable(context, table, model.features, model.columns)
        assert isinstance(table, PassingTable)
        assert table.n_rows == 2
        assert context.storage.get(table.storage_key)
    with pytest.raises(KeyError):
        context.storage.get(table.storage_key)


def test_what_rows_lack_is_pointed_at(context: Context, model: FittedModel) -> None:
    assert told(context, model, features={"x": [1], "c": ["z"], "d": [1]}) == [
        ("unknown_column", "/features/d"), ("unknown_category", "/features/c/0"),
    ]  # fmt: skip
    assert told(context, model, rows=[{"x": 1}]) == [("missing_column", "/rows/0/c")]
    inline = {"columns": {"x": ["one"], "c": ["a"], "d": [1]}}
    assert told(context, model, dataset=inline) == [("unsuitable_column", "/dataset/columns/x")]
    other = datasets.create_inline_dataset(
        context, DatasetRequest(columns={"x": [1.0, 2.0], "c": ["a", "z"]}), OWNER
    )
    assert told(context, model, dataset=other["id"]) == [("unknown_category", "/dataset")]


def test_a_row_that_rows_were_dropped_before_has_no_number(
    context: Context, model: FittedModel
) -> None:
    columns = {"x": [1.0, None, 2.0], "c": ["a", "a", "z"]}
    asked = PredictionRequest.model_validate({"features": columns})

    with (
        pytest.raises(InvalidInput) as error,
        requested_rows(context, asked, OWNER, "drop") as table,
    ):
        refuse_unsuitable(context, table, model.features, model.columns)

    assert [place.pointer for place in error.value.places] == ["/features/c"]


def test_broken_rows_are_pointed_at_by_their_own_names(
    context: Context, model: FittedModel
) -> None:
    for request, expected in (
        ({"features": {"x": [1, True]}}, "/features/x/1"),
        ({"rows": [{"x": 1}, {"y": 1}]}, "/rows/1"),
        ({"dataset": {"rows": [{"x": None}]}}, "/dataset/rows/0/x"),
    ):
        asked = PredictionRequest.model_validate(request)
        with (
            pytest.raises(InvalidTable) as error,
            requested_rows(context, asked, OWNER, "refuse"),
        ):
            pass
        assert error.value.places[0].pointer == expected


@pytest.mark.parametrize(
    ("columns", "code"),
    [
        ({"x": [1.0], "c": ["a"], "w": [1.0]}, "missing_column"),
        ({"x": [1.0], "c": ["a"], "y": [1.0]}, "missing_column"),
        ({"x": [1.0], "c": ["a"], "y": [1.0], "w": [-1.0]}, "unusable_weights"),
        ({"x": [1.0], "c": ["a"], "y": ["1"], "w": [1.0]}, "unsuitable_column"),
    ],
)
def test_an_evaluation_needs_targets_and_weights(
    context: Context, model: FittedModel, columns: dict[str, Any], code: str
) -> None:
    request = EvaluationRequest.model_validate({"dataset": {"columns": columns}})

    with pytest.raises(InvalidInput) as error:
        evaluate(context, model.row["id"], request, OWNER)

    (place,) = error.value.places
    assert place.code == code
    assert (place.pointer or "").startswith("/dataset/columns/")
