"""Evaluations over HTTP on the real service."""

from typing import Any

import httpx
import numpy as np
import pytest

from service.schemas.answers.models import Evaluation
from tests.stack.given import NETWORK, TRAINING, fit, refused, url

SPECS: dict[str, dict[str, Any]] = {
    "compiled": {"optimizer": {"kind": "sgd", "lr": 0.1}},
    "compiled, weighted": {"optimizer": {"kind": "sgd", "lr": 0.1}, "sample_weight": "weight",
                           "batch_size": 7},
    "penalty": {"penalty": {"l1": 0.1, "l2": 0.01}, "standardize": True},
    "streaming": {"strategy": "streaming", "batch_size": 16, "dtype": "float32"},
    "several": {"target": ["y", "y2"], "loss": {"kind": "huber", "delta": 0.5}},
    "polynomial": {"model": {"kind": "polynomial", "degree": 3}, "standardize": True},
    "poisson": {"target": "count", "loss": {"kind": "poisson"}},
    "logistic": {"target": "label", "model": {"kind": "logistic"}, "dtype": "float32"},
    "hinge": {"target": "label", "loss": {"kind": "hinge"}},
    "softmax": {"target": "third", "model": {"kind": "softmax"},
                "loss": {"kind": "cross_entropy", "class_weight": [1, 2, 3]}},
    "network": {"target": "label", "loss": {"kind": "bce"}, "batch_size": 16, "dtype": "float32",
                "model": NETWORK | {"dropout": 0.2, "batch_norm": True}, "standardize": True},
    "restored": {"early_stopping": {"monitor": "train_loss", "patience": 1}, "batch_size": 10,
                 "optimizer": {"kind": "sgd", "lr": 0.1}},
}  # fmt: skip


@pytest.mark.parametrize("name", SPECS)
def test_on_its_own_dataset_a_fit_is_as_good_as_it_said(
    client: httpx.Client, training: str, name: str
) -> None:
    body = fit(client, training, **SPECS[name])

    by_id = client.post(f"{url(body)}/evaluations", json={"dataset": training})
    inline = client.post(f"{url(body)}/evaluations", json={"dataset": {"columns": TRAINING}})

    assert by_id.status_code == 200, by_id.text
    Evaluation.model_validate(by_id.json())
    expected = {"metrics": body["metrics"]["train"], "loss": body["final_loss"]}
    assert by_id.json() == inline.json() == expected


def test_an_evaluation_is_of_the_rows_that_it_is_given(client: httpx.Client, training: str) -> None:
    body = fit(client, training, features=["x", "z"], penalty={"l2": 0.5})
    columns = {"x": [1.0, 2.0], "z": [0.0, 1.0], "y": [1.0, 5.0]}

    found = client.post(f"{url(body)}/evaluations", json={"dataset": {"columns": columns}}).json()

    c = body["coefficients"]
    residuals = [c["intercept"] + c["x"] - 1, c["intercept"] + 2 * c["x"] + c["z"] - 5]
    mse = np.mean(np.square(residuals))
    assert found["metrics"]["mse"] == pytest.approx(mse, rel=1e-9)
    assert found["loss"] == pytest.approx(mse + 0.5 * (c["x"] ** 2 + c["z"] ** 2), rel=1e-9)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"x": [1], "colour": ["red"], "z": [1]}, ("missing_column", "/dataset/columns/label")),
        ({"x": [1], "colour": ["red"], "z": [1], "label": ["maybe"], "weight": [1]},
         ("unknown_category", "/dataset/columns/label/0")),
        ({"x": [1], "colour": ["red"], "z": [1], "label": ["no"], "weight": [0]},
         ("unusable_weights", "/dataset/columns/weight")),
    ],
)  # fmt: skip
def test_what_cannot_be_evaluated_on_is_pointed_at(
    client: httpx.Client, training: str, columns: dict[str, Any], expected: tuple[str, str]
) -> None:
    body = fit(client, training, target="label", model={"kind": "logistic"},
               sample_weight="weight", reuse=True)  # fmt: skip

    answer = client.post(f"{url(body)}/evaluations", json={"dataset": {"columns": columns}})

    first = refused(answer, 422)["errors"][0]
    assert (first["code"], first["pointer"]) == expected


def test_a_number_that_is_no_class_is_refused(client: httpx.Client, training: str) -> None:
    body = fit(client, training, target="third", model={"kind": "softmax"})
    columns = {"x": [1], "colour": ["red"], "z": [1], "third": [8]}

    answer = client.post(f"{url(body)}/evaluations", json={"dataset": {"columns": columns}})

    problem = refused(answer, 422)
    assert problem["errors"][0]["pointer"] == "/dataset"
    assert "8.0, no class" in problem["detail"]
