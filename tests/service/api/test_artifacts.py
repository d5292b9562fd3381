"""What a fit has kept, in every format."""

import io
import json
from typing import Any

import numpy as np
import onnxruntime
import pyarrow.parquet as pq
import pytest
import safetensors.numpy
from flask.testing import FlaskClient

from service.api.artifacts import history_json
from service.context import Context
from service.schemas.answers.artifacts import History, Trajectory
from tests.service.api.resources import HISTORY, WEIGHTS, create_fit, end


def test_artifacts_keep_every_digit_in_every_format(http: FlaskClient, context: Context) -> None:
    fit = create_fit(http)
    end(context, fit["id"])

    def get(name: str) -> Any:
        return http.get(f"/v1/fits/{fit['id']}/{name}")

    history = json.loads(get("history.json").data, parse_constant=pytest.fail)
    History.model_validate(history)
    assert history["loss"] == HISTORY["loss"].tolist()
    assert history["grad_norm"] == [1.0, None, 2.0]
    assert history["epochs"]["validation_loss"] == [None] * 3
    assert get("history.csv").text.splitlines()[:3] == [
        "step,epoch,loss,lr,grad_norm",
        "0,0,0.30000000000000004,0.1,1.0",
        "1,1,1e-17,0.1,inf",
    ]
    table = pq.read_table(io.BytesIO(get("history.parquet").data))
    assert table.column_names == ["step", "epoch", "loss", "lr", "grad_norm"]
    assert table["loss"].to_pylist() == HISTORY["loss"].tolist()
    expected = {name: array.tolist() for name, array in WEIGHTS.items()}
    tensors = safetensors.numpy.load(get("weights.safetensors").data)
    arrays = np.load(io.BytesIO(get("weights.npz").data), allow_pickle=False)
    assert get("weights.json").get_json() == expected
    assert {name: array.tolist() for name, array in tensors.items()} == expected
    assert {name: arrays[name].tolist() for name in arrays} == expected
    assert tensors["weight"].dtype == arrays["weight"].dtype == np.float32


def test_numbers_that_json_lacks_are_null_with_the_first_place_named() -> None:
    arrays = {
        "step": np.arange(3),
        "grad_norm": np.array([1.0, np.inf, np.nan]),
        "epochs.train_loss": np.array([1.0, 2.0]),
        "epochs.validation_loss": np.array([np.nan, np.nan]),
    }

    told = json.loads(history_json(arrays))

    assert told["grad_norm"] == [1.0, None, None]
    assert told["not_finite"] == {"grad_norm": 1}
    assert told["epochs"]["validation_loss"] == [None, None]


def test_the_trajectory_says_the_same_in_every_format(http: FlaskClient, context: Context) -> None:
    fit = create_fit(http, record={"weights": True, "gradients": True})
    steps = np.arange(2)
    weights = {"weight": np.ones((2, 1, 1)), "bias": np.zeros((2, 1))}
    gradients = {"gradients.weight": np.full((2, 1, 1), 3.0)}
    end(context, fit["id"], trajectory={"step": steps} | weights | gradients)

    shown = http.get(f"/v1/fits/{fit['id']}/trajectory.json").get_json()
    arrays = np.load(io.BytesIO(http.get(f"/v1/fits/{fit['id']}/trajectory.npz").data))

    Trajectory.model_validate(shown)
    assert shown == {
        "step": [0, 1], "weight": [[[1]], [[1]]], "bias": [[0], [0]],
        "gradients": {"weight": [[[3]], [[3]]]},
    }  # fmt: skip
    assert {name: arrays[name].tolist() for name in arrays} == {
        "step": [0, 1], "weight": [[[1]], [[1]]], "bias": [[0], [0]],
        "gradients.weight": [[[3]], [[3]]],
    }  # fmt: skip
    links = http.get(f"/v1/fits/{fit['id']}").get_json()["artifacts"]
    assert set(links["trajectory"]) == {"json", "npz"}


def test_a_fitted_model_runs_as_onnx(http: FlaskClient, context: Context) -> None:
    fit = create_fit(http)
    end(context, fit["id"])

    session = onnxruntime.InferenceSession(http.get(f"/v1/fits/{fit['id']}/weights.onnx").data)

    features = np.array([[1.0], [3.0]], np.float32)
    (predicted,) = session.run(["predictions"], {"features": features})
    np.testing.assert_allclose(predicted, features * np.float32(0.1) + 2, rtol=1e-6)


def test_artifacts_are_immutable_and_come_in_parts(http: FlaskClient, context: Context) -> None:
    fit = create_fit(http)
    end(context, fit["id"])
    url = f"/v1/fits/{fit['id']}/history.csv"
    whole = http.get(url)

    part = http.get(url, headers={"Range": "bytes=0-3"})
    known = http.get(url, headers={"If-None-Match": whole.headers["ETag"]})
    beyond = http.get(url, headers={"Range": "bytes=100000-"})

    assert "immutable" in whole.headers["Cache-Control"]
    assert not whole.headers["ETag"].startswith("W/")
    assert (part.status_code, part.data) == (206, b"step")
    assert (known.status_code, known.data) == (304, b"")
    assert beyond.status_code == 416
    assert http.head(url).headers["Content-Length"] == str(len(whole.data))


def test_a_fit_without_artifacts_yet_is_404(http: FlaskClient) -> None:
    fit = create_fit(http)

    assert http.get(f"/v1/fits/{fit['id']}/history.json").status_code == 404
    assert http.get(f"/v1/fits/{fit['id']}/plots/loss.png").status_code == 404
