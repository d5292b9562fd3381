"""Every picture that a fit's answer names, on the real service."""

import io
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_iris

WAIT = {"Prefer": "wait=30"}
STILL = {"width": 640, "height": 400}


def line() -> dict[str, Any]:
    x = np.linspace(-1, 1, 40)
    noise = np.random.default_rng(0).normal(scale=0.2, size=40)
    return {
        "dataset": {"columns": {"x": x.tolist(), "y": (2 * x + 3 + noise).tolist()}},
        "target": "y",
        "optimizer": {"kind": "sgd", "lr": 0.1},
        "steps": 60,
        "init": {"weights": {"weight": [[-3.0]], "bias": [-2.0]}},
        "record": {"weights": True},
    }


def sine() -> dict[str, Any]:
    x = np.linspace(-3, 3, 60)
    return {
        "dataset": {"columns": {"x": x.tolist(), "y": np.sin(x).tolist()}},
        "target": "y",
        "model": {"kind": "mlp", "hidden": [12, 12], "activation": "tanh"},
        "optimizer": {"kind": "adam", "lr": 0.02},
        "epochs": 150,
        "validation": {"fraction": 0.2},
        "record": {"weights": True, "every": 3},
    }


def flowers() -> dict[str, Any]:
    iris = load_iris()
    return {
        "dataset": {
            "columns": {
                "length": iris.data[:, 2].tolist(),
                "width": iris.data[:, 3].tolist(),
                "species": iris.target_names[iris.target].tolist(),
            }
        },
        "target": "species",
        "model": {"kind": "softmax"},
        "standardize": True,
        "optimizer": {"kind": "adam", "lr": 0.1},
        "steps": 200,
    }


@pytest.mark.parametrize(
    ("body", "kinds"),
    [
        (line(), "loss fit residuals predicted surface weights animation"),
        (sine(), "loss fit residuals predicted weights animation"),
        (flowers(), "loss boundary confusion roc"),
    ],
    ids=["line", "sine", "flowers"],
)
def test_every_picture_that_is_named_is_drawn(
    client: httpx.Client, body: dict[str, Any], kinds: str
) -> None:
    # given an ended fit
    fit = client.post("/v1/fits", json=body, headers=WAIT).json()
    assert fit["status"] == "succeeded"

    # then it names the pictures that suit it, and each of them comes in its size
    assert list(fit["plots"]) == kinds.split()
    for kind, url in fit["plots"].items():
        answer = client.get(url, params=STILL)
        assert answer.status_code == 200, (kind, answer.text)
        with Image.open(io.BytesIO(answer.content)) as picture:
            assert picture.size == (640, 400)
            assert getattr(picture, "n_frames", 1) > 1 or kind != "animation"
        other = url.replace(".gif", ".mp4").replace(".png", ".svg")
        vectors = client.get(other, params=STILL)
        assert vectors.status_code == 200
        assert vectors.content[4:8] == b"ftyp" or b"<svg" in vectors.content


def test_an_animation_needs_a_trajectory(client: httpx.Client) -> None:
    fit = client.post("/v1/fits", json=line() | {"record": {}}, headers=WAIT).json()

    answer = client.get(f"/v1/fits/{fit['id']}/plots/animation.gif")

    assert answer.status_code == 404
    assert answer.json()["code"] == "plot_not_applicable"
    assert "record.weights" in answer.json()["detail"]
    assert "loss, fit, residuals" in answer.json()["detail"]
