"""The course notebook's fit, and its numbers."""

import json
from pathlib import Path
from typing import Any

import httpx

NOTEBOOK = json.loads((Path(__file__).parent.parent / "cases" / "notebook_seed42.json").read_text())
WAIT = {"Prefer": "wait=30"}
GIVEN = {"weights": {"weight": [[-3.0]], "bias": [-2.0]}}


def spec(dataset: str, **changes: Any) -> dict[str, Any]:
    """The notebook's fit, some of it changed."""
    return {
        "dataset": dataset,
        "target": "y",
        "optimizer": {"kind": "sgd", "lr": 0.01},
        "steps": 100,
        "init": GIVEN,
        "dtype": "float64",
    } | changes


def fit(client: httpx.Client, dataset: str, **changes: Any) -> dict[str, Any]:
    """Such a fit after its end."""
    answer = client.post("/v1/fits", json=spec(dataset, **changes), headers=WAIT)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def history(client: httpx.Client, body: dict[str, Any]) -> dict[str, Any]:
    """What the fit has kept of each step."""
    columns: dict[str, Any] = client.get(body["artifacts"]["history"]["json"]).json()
    return columns
