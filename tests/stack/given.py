"""What the stack's tests of ended fits start from."""

import time
from typing import Any

import httpx
import numpy as np

WAIT = {"Prefer": "wait=60"}
ADAM = {"kind": "adam", "lr": 0.05}
NETWORK = {"kind": "mlp", "hidden": [6], "activation": "tanh"}
LONG: dict[str, Any] = {"steps": 1_000_000, "strategy": "reference"}

RNG = np.random.default_rng(3)
N_ROWS = 60
X, Z = RNG.normal(size=(2, N_ROWS)).round(3)
COLOUR = RNG.choice(["red", "green", "blue"], N_ROWS)
Y = (2 * X - Z + (COLOUR == "red") + RNG.normal(size=N_ROWS) / 10).round(3)
TRAINING: dict[str, list[Any]] = {
    "x": X.tolist(), "colour": COLOUR.tolist(), "z": Z.tolist(), "y": Y.tolist(),
    "y2": (X * Z).round(3).tolist(), "count": RNG.poisson(np.exp(X / 2)).tolist(),
    "label": np.where(Y > 0, "yes", "no").tolist(), "third": RNG.integers(5, 8, N_ROWS).tolist(),
    "weight": RNG.integers(0, 3, N_ROWS).tolist(),
}  # fmt: skip
NEW: dict[str, list[Any]] = {
    "x": [0.5, -1.25, 3.0], "colour": ["blue", "red", "red"], "z": [0.0, 1.5, -2.0],
}  # fmt: skip


def fit(client: httpx.Client, dataset: Any, status: str = "succeeded", **spec: Any) -> Any:
    body = {
        "dataset": dataset, "features": ["x", "colour", "z"], "target": "y", "steps": 200,
        "optimizer": ADAM, "dtype": "float64",
    } | spec  # fmt: skip
    answer = client.post("/v1/fits", json=body, headers=WAIT)
    assert answer.status_code == 200, answer.text
    assert answer.json()["status"] == status, answer.json()
    return answer.json()


def url(body: Any) -> str:
    return str(body["urls"]["self"])


def rows_of(columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def refused(answer: httpx.Response, status: int) -> Any:
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    return answer.json()


def cancel_running(client: httpx.Client, waiting: Any) -> Any:
    """Cancel the fit once it has made some steps; its end."""
    while client.get(url(waiting)).json()["progress"]["step"] == 0:
        time.sleep(0.1)
    client.post(f"{url(waiting)}/cancel")
    ended = client.get(url(waiting), headers=WAIT).json()
    assert (ended["status"], ended["stop_reason"]) == ("cancelled", "cancelled")
    return ended
