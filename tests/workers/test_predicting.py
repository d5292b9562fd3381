"""Predictions, evaluations and gradients as a worker makes them for a request that waits."""

import gzip
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from flask.testing import FlaskClient

from service import datasets, fits, predictions
from service.api.app import create_app
from service.context import Context
from service.errors import Gone, InvalidInput
from service.gradients import check_gradients
from service.passing_tables import passing_dataset, passing_upload
from service.predictions import find_fitted, predicted
from service.schemas.datasets import DatasetRequest
from service.schemas.rows import EvaluationRequest, GradientRequest
from service.settings import Settings
from service.tables.pieces import ReadOptions
from service.tables.reading import read_pieces
from tests.service.conftest import OWNER
from tests.service.stored import stored
from tests.service.tables.given import as_csv
from tests.service.test_lifecycle import submit
from tests.workers.running import run_all
from tests.workers.test_runner import run
from workers import inputs

pytestmark = pytest.mark.usefixtures("errand_worker")

N_ROWS = 150_000
LINE = {"weights": {"weight": [[2.0]], "bias": [1.0]}}
STILL = {"optimizer": {"kind": "sgd", "lr": 0.0}, "steps": 1, "dtype": "float64"}


def still(context: Context, table: DatasetRequest, **changes: Any) -> str:
    """The id of a fit whose weights are those that it began with."""
    fit = run(context, submit(context, table, **STILL | changes))
    assert fit["status"] == "succeeded", fit["error"]
    return str(fit["id"])


def said(context: Context, fit_id: str, table: DatasetRequest) -> Any:
    model = find_fitted(context, fit_id, OWNER)
    with passing_dataset(context, table, OWNER) as rows, predicted(context, model, rows) as found:
        return orjson.loads(b"".join(found.pieces("application/json")))


def test_many_rows_are_predicted_for_block_by_block_and_nothing_stays(
    context: Context, table: DatasetRequest, tmp_path: Path
) -> None:
    fit_id = still(context, table, init=LINE)
    before = stored(context)
    x = np.random.default_rng(0).normal(size=N_ROWS)
    path = tmp_path / "upload"
    path.write_bytes(as_csv({"x": x}))

    pieces = read_pieces(path, "text/csv", ReadOptions())
    with (
        passing_upload(context, pieces, OWNER, "refuse") as rows,
        predicted(context, find_fitted(context, fit_id, OWNER), rows) as found,
    ):
        as_json = orjson.loads(b"".join(found.pieces("application/json")))
        lines = b"".join(found.pieces("text/csv")).splitlines()

    np.testing.assert_allclose(as_json["predictions"], 2 * x + 1, rtol=1e-15)
    assert lines[0] == b'"prediction"'
    assert [float(line) for line in lines[1:]] == as_json["predictions"]
    assert stored(context) == before


def test_wide_layers_are_made_in_parts(
    context: Context, table: DatasetRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = {"kind": "mlp", "hidden": [40], "activation": "tanh"}
    fit_id = still(context, table, model=model)
    x = DatasetRequest(columns={"x": np.linspace(-1, 1, 1001).tolist()})
    whole = said(context, fit_id, x)["predictions"]

    monkeypatch.setattr("workers.predicting._MOST_NUMBERS", 400)
    in_parts = said(context, fit_id, x)["predictions"]

    np.testing.assert_allclose(in_parts, whole, rtol=1e-12)


def test_what_overflows_is_null(context: Context) -> None:
    counts = DatasetRequest(columns={"x": [0.0, 1.0], "y": [1, 2]})
    fit_id = still(context, counts, loss={"kind": "poisson"}, init=LINE)

    found = said(context, fit_id, DatasetRequest(columns={"x": [0.0, 1e6]}))

    assert found["predictions"] == [pytest.approx(np.e), None]
    assert found["not_finite"] == {"predictions": 1}


def test_numbers_that_are_classes_keep_their_form(context: Context) -> None:
    halves = DatasetRequest(columns={"x": [-1, 1], "y": [0.5, 1e300]})
    fit_id = still(context, halves, model={"kind": "logistic"}, init=LINE)

    found = said(context, fit_id, DatasetRequest(columns={"x": [-1, 1]}))

    assert found["classes"] == found["predictions"] == [0.5, 1e300]
    np.testing.assert_allclose(found["probabilities"][1], [1 / (1 + np.e**3), 1 / (1 + np.e**-3)])


def test_a_fit_outlives_its_dataset(context: Context, table: DatasetRequest) -> None:
    fit_id = still(context, table, init=LINE)
    datasets.delete_dataset(context, fits.get_fit(context, fit_id, OWNER)["dataset"]["id"], OWNER)

    assert said(context, fit_id, DatasetRequest(columns={"x": [2.0]})) == {"predictions": [5.0]}


def test_a_dataset_that_goes_meanwhile_is_gone(context: Context, table: DatasetRequest) -> None:
    fit_id = still(context, table, init=LINE)
    rows = DatasetRequest(columns={"x": [7.5]})
    other = datasets.create_inline_dataset(context, rows, OWNER)
    model = find_fitted(context, fit_id, OWNER)
    inputs._tables.clear()

    with passing_dataset(context, other["id"], OWNER, "dataset") as passing:
        datasets.delete_dataset(context, other["id"], OWNER)
        with pytest.raises(Gone), predicted(context, model, passing):
            pass


@pytest.mark.parametrize("weighted", [False, True])
def test_a_large_table_is_as_good_as_the_fit_said(
    context: Context, weighted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if 1 GiB were 64 KiB: the fit and its evaluation both stream."""
    monkeypatch.setattr("workers.engine.planner._MOST_BYTES_IN_MEMORY", 2**16)
    rng = np.random.default_rng(1)
    x = rng.normal(size=10_000)
    columns = {"x": x.tolist(), "y": (x + rng.normal(size=10_000)).tolist(),
               "w": rng.integers(0, 3, 10_000).tolist()}  # fmt: skip
    table = DatasetRequest(columns=columns)
    fit = run(context, submit(
        context, table, features=["x"], standardize=True, batch_size=100,
        sample_weight="w" if weighted else None,
    ))  # fmt: skip

    asked = EvaluationRequest(dataset=fit["dataset"]["id"])
    found = predictions.evaluate(context, fit["id"], asked, OWNER)

    assert fit["fingerprint"]["strategy"] == "streaming"
    assert found == {"metrics": fit["metrics"]["train"], "loss": fit["final_loss"]}


def test_rows_that_were_held_out_are_evaluated_like_any(context: Context) -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=40)
    columns = {"x": x.tolist(), "y": (x + rng.normal(size=40)).tolist()}
    fit = run(context, submit(
        context, DatasetRequest(columns=columns), validation={"fraction": 0.25}, dtype="float64"
    ))  # fmt: skip

    whole = predictions.evaluate(
        context, fit["id"], EvaluationRequest(dataset=fit["dataset"]["id"]), OWNER
    )

    train, held_out = fit["metrics"]["train"]["mse"], fit["metrics"]["validation"]["mse"]
    assert whole["metrics"]["mse"] == pytest.approx((30 * train + 10 * held_out) / 40)


def test_a_class_that_the_fit_never_saw_is_refused(context: Context) -> None:
    thirds = DatasetRequest(columns={"x": [0, 1, 2], "y": [0, 1, 2]})
    fit_id = still(context, thirds, model={"kind": "softmax"})
    other = EvaluationRequest(dataset=DatasetRequest(columns={"x": [0], "y": [3]}))

    with pytest.raises(InvalidInput) as error:
        predictions.evaluate(context, fit_id, other, OWNER)

    assert error.value.places[0].pointer == "/dataset"


@pytest.fixture
def http(settings: Settings, context: Context) -> Iterator[FlaskClient]:
    """The API beside the worker's thread."""
    app = create_app(settings)
    yield app.test_client()
    app.extensions["thalweg"].close()


def test_an_answer_that_was_sent_leaves_no_file(http: FlaskClient, context: Context) -> None:
    columns = {"x": [1, 2, 3], "y": [2, 4, 6]}
    request = {"dataset": {"columns": columns}, "target": "y", "init": LINE} | STILL
    made = http.post("/v1/fits", json=request).get_json()
    run_all(context)
    before = stored(context)
    url = f"/v1/fits/{made['id']}/predictions"

    answers = [
        http.post(url, json={"features": {"x": [0.0, 1.0]}}),
        http.post(url, json={"rows": [{"x": 0.0}, {"x": 1.0}]}),
        http.post(url, data=gzip.compress(b"x\n0\n1\n"), content_type="text/csv",
                  headers={"Content-Encoding": "gzip"}),
        http.post(url, data={"file": (io.BytesIO(b'{"features": {"x": [0, 1]}}'), "rows.json")}),
    ]  # fmt: skip

    assert [answer.get_json() for answer in answers] == [{"predictions": [1.0, 3.0]}] * 4
    for answer in answers:
        answer.close()
    assert stored(context) == before
    assert [*context.events.client.scan_iter(match="*errand_*")] == []


def test_a_gradient_is_of_the_rows_that_are_named(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From memory, and as if 1 GiB were 1 KiB from the store."""
    x = np.arange(1000.0) / 100
    table = DatasetRequest(columns={"x": x.tolist(), "y": (3 * x).tolist()})
    rows = [999, 3, 3]
    asked = GradientRequest(
        dataset=table, target="y", weights={"weight": [[1.0]], "bias": [0.5]}, rows=rows
    )

    in_memory = check_gradients(context, asked, OWNER)
    monkeypatch.setattr("workers.engine.planner._MOST_BYTES_IN_MEMORY", 2**10)
    streamed = check_gradients(context, asked, OWNER)

    residuals = 2 * x[rows] - 0.5
    assert in_memory == streamed
    assert streamed["loss"] == pytest.approx(np.mean(residuals**2))
    assert streamed["gradients"]["weight"] == [[pytest.approx(-2 * np.mean(residuals * x[rows]))]]
    assert streamed["gradients"]["bias"] == [pytest.approx(-2 * np.mean(residuals))]
    assert streamed["max_relative_error"] < 1e-6
    assert stored(context) == []
