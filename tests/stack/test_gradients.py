"""Gradients over HTTP on the real service, against a pencil."""

from typing import Any

import httpx
import numpy as np
import pytest

from service.schemas.answers.models import GradientCheck
from tests.stack.given import refused

# Predictions are 1·x + 1 = 2, 3, 5; residuals y - ŷ are 1, -1, -3.
POINTS = {"columns": {"x": [1, 2, 4], "y": [3, 2, 2]}}
GRADIENT = {"dataset": POINTS, "target": "y", "weights": {"weight": [[1]], "bias": [1]}}


def test_a_gradient_is_that_of_the_pencil(client: httpx.Client) -> None:
    whole = client.post("/v1/gradients", json=GRADIENT)
    two = client.post("/v1/gradients", json=GRADIENT | {"rows": [2, 0]})
    penalized = client.post(
        "/v1/gradients", json=GRADIENT | {"penalty": {"l1": 0.5, "l2": 0.25}, "rows": [1]}
    )
    twice = client.post("/v1/gradients", json=GRADIENT | {"rows": [1, 1, 1]})

    assert whole.status_code == 200, whole.text
    GradientCheck.model_validate(whole.json())
    # (1 + 1 + 9)/3; -2/3·(1·1 - 1·2 - 3·4), -2/3·(1 - 1 - 3)
    assert whole.json()["loss"] == pytest.approx(11 / 3)
    assert whole.json()["gradients"]["weight"] == [[pytest.approx(26 / 3)]]
    assert whole.json()["gradients"]["bias"] == [pytest.approx(2)]
    assert whole.json()["numerical"]["weight"] == [[pytest.approx(26 / 3, rel=1e-6)]]
    assert 0 <= whole.json()["max_relative_error"] < 1e-6
    # (9 + 1)/2; -2/2·(-3·4 + 1·1), -2/2·(-3 + 1)
    assert two.json()["loss"] == pytest.approx(5)
    assert two.json()["gradients"] == {"weight": [[pytest.approx(11)]], "bias": [pytest.approx(2)]}
    # 1 + 0.5·1 + 0.25·1; -2·(-1)·2 + 0.5 + 0.5, -2·(-1)
    assert penalized.json()["loss"] == pytest.approx(1.75)
    assert penalized.json()["gradients"] == {
        "weight": [[pytest.approx(5)]], "bias": [pytest.approx(2)],
    }  # fmt: skip
    assert twice.json()["gradients"]["weight"] == [[pytest.approx(4)]]


def test_networks_and_classes_have_gradients_too(client: httpx.Client, training: str) -> None:
    weights = {
        "layers.0.weight": [[0.1, -0.2], [0.3, 0.4]], "layers.0.bias": [0.0, 0.1],
        "layers.1.weight": [[0.5, -0.5]], "layers.1.bias": [0.2],
    }  # fmt: skip
    request = {
        "dataset": training, "features": ["x", "z"], "target": "label", "loss": {"kind": "bce"},
        "model": {"kind": "mlp", "hidden": [2], "activation": "tanh", "dropout": 0.5},
        "weights": weights, "sample_weight": "weight",
    }  # fmt: skip

    found = client.post("/v1/gradients", json=request)

    assert found.status_code == 200, found.text
    assert found.json()["max_relative_error"] < 1e-6
    assert list(found.json()["gradients"]) == list(weights)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"weights": {"weight": [[1, 2]], "bias": [1]}}, ("wrong_shape", "/weights/weight")),
        ({"weights": {"weight": [[1]]}}, ("required", "/weights")),
        ({"weights": {"weight": [[1]], "bias": [1], "w": [1]}}, ("unknown_field", "/weights/w")),
        ({"target": "z"}, ("unknown_column", "/target")),
        ({"rows": [0, 3]}, ("no_such_row", "/rows/1")),
        ({"rows": [-1]}, ("greater_than_equal", "/rows/0")),
        ({"loss": {"kind": "bce"}}, ("unsuitable_loss", "/loss")),
        ({"optimizer": {"kind": "sgd"}}, ("unknown_field", "/optimizer")),
        ({"dataset": {"columns": {"x": [1], "y": ["a"]}}}, ("not_numbers", "/target")),
    ],
)
def test_a_gradient_that_cannot_be_is_pointed_at(
    client: httpx.Client, changes: dict[str, Any], expected: tuple[str, str]
) -> None:
    body = refused(client.post("/v1/gradients", json=GRADIENT | changes), 422)

    assert (body["errors"][0]["code"], body["errors"][0]["pointer"]) == expected


def test_too_much_to_differentiate_is_refused_at_once(client: httpx.Client) -> None:
    model = {"kind": "mlp", "hidden": [40, 40]}
    shapes = {"0": (40, 2), "1": (40, 40), "2": (1, 40)}
    weights: dict[str, Any] = {f"layers.{i}.weight": np.full(s, 0.1) for i, s in shapes.items()}
    weights |= {f"layers.{i}.bias": np.zeros(shape[0]) for i, shape in shapes.items()}
    given = {name: array.tolist() for name, array in weights.items()}
    points = {"generator": {"kind": "moons", "n": 50_000}}
    request = {"dataset": points, "target": "y", "model": model, "weights": given}

    many = refused(client.post("/v1/gradients", json=request), 422)
    few = client.post("/v1/gradients", json=request | {"rows": [0, 1]})

    assert many["errors"][0]["pointer"] == "/dataset"
    assert "name fewer in rows" in many["detail"]
    assert few.status_code == 200
