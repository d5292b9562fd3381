"""Cancelling running fits on the real service, whatever computes them."""

import time
from typing import Any

import httpx
import pytest

from tests.stack.given import WAIT, url


def rows(n_features: int) -> dict[str, Any]:
    coef = [i / n_features for i in range(n_features)]
    made = {"kind": "linear", "n": 500, "seed": 1, "x": {"normal": [0, 1]}, "noise": 0.1}
    return {"generator": made | {"coef": coef}}


LONG_BY: dict[str, dict[str, Any]] = {
    "reference": {},
    "streaming": {"batch_size": 10},
    "kernels": {"batch_size": 10},
    "spectral": {"dataset": rows(400), "optimizer": {"kind": "sgd", "lr": 1e-7, "momentum": 0.9}},
}


@pytest.mark.parametrize("strategy", LONG_BY)
def test_a_cancelled_fit_ends_soon_with_what_it_has(client: httpx.Client, strategy: str) -> None:
    # given a fit that takes long by the strategy
    spec = {
        "dataset": rows(5), "target": "y", "steps": 10_000_000, "strategy": strategy,
        "record": {"every": 1_000}, "dtype": "float64",
    } | LONG_BY[strategy]  # fmt: skip
    answer = client.post("/v1/fits", json=spec)
    assert answer.status_code == 202, answer.text
    waiting = answer.json()
    while client.get(url(waiting)).json()["progress"]["step"] == 0:
        time.sleep(0.05)

    # when it is cancelled
    began = time.monotonic()
    client.post(f"{url(waiting)}/cancel")
    ended = client.get(url(waiting), headers=WAIT).json()
    seconds = time.monotonic() - began

    # then it ends soon, with its history so far
    assert (ended["status"], ended["stop_reason"]) == ("cancelled", "cancelled")
    assert ended["diagnostics"]["strategy"] == strategy
    history = client.get(ended["artifacts"]["history"]["json"]).json()
    assert 0 < ended["progress"]["step"] < spec["steps"]
    assert len(history["loss"]) == -(-ended["progress"]["step"] // 1_000)
    assert ended["weights"] is not None
    assert seconds < 6, "2 s on a machine that is not shared"
