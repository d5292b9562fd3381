"""What becomes of pictures, on the real service: how they look, and when they are gone."""

from typing import Any

import httpx
import numpy as np

X = np.linspace(-1, 1, 40)
WAIT = {"Prefer": "wait=60"}
RECORDED = {"record": {"weights": True}}

REGRESSION = {
    "dataset": {"columns": {"x": X.tolist(), "y": (3 + 2 * X + 0.2 * np.sin(9 * X)).tolist()}},
    "validation": {"fraction": 0.2},
    **RECORDED,
}


def fitted(client: httpx.Client, spec: dict[str, Any]) -> dict[str, Any]:
    """The fit of the spec, at its end."""
    adam = {"kind": "adam", "lr": 0.05}
    body = {"target": "y", "optimizer": adam, "steps": 30, **spec}
    fit: dict[str, Any] = client.post("/v1/fits", json=body, headers=WAIT).json()
    assert fit["status"] == "succeeded", fit
    return fit


def test_an_animation_is_a_film_too(client: httpx.Client) -> None:
    url = fitted(client, REGRESSION)["plots"]["animation"].removesuffix("gif") + "mp4"

    answer = client.get(url, params={"width": 400, "height": 300, "theme": "dark"})

    assert answer.headers["Content-Type"] == "video/mp4"
    assert answer.content[4:8] == b"ftyp"
    assert client.get(url, params={"width": 4000}).status_code == 422


def test_a_picture_whose_dataset_is_gone_is_gone(client: httpx.Client) -> None:
    own = {"dataset": {"columns": {"x": X.tolist(), "y": (X * 7.25).tolist()}}}
    fit = fitted(client, REGRESSION | own)
    client.delete(f"/v1/datasets/{fit['dataset']['id']}")

    found = {kind: client.get(url).status_code for kind, url in fit["plots"].items()}

    without = {kind for kind, status in found.items() if status == 200}
    assert without == {"loss", "weights"}
    assert {found[kind] for kind in found if kind not in without} == {410}
