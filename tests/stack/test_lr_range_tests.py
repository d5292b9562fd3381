"""Learning-rate range tests over HTTP on the real service: what a user sees."""

import itertools
import json
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch

from tests.lr_finder import find_lr

NOTEBOOK = json.loads((Path(__file__).parent.parent / "cases" / "notebook_seed42.json").read_text())
X = [row[1] for row in NOTEBOOK["x"]]
GIVEN = {"weight": [[-3.0]], "bias": [-2.0]}
URL = "/v1/lr-range-tests"
WAIT = {"Prefer": "wait=30"}
# About four seconds of the plain loop.
SLOW = {"num_iter": 20_000, "end_lr": 1e-3}


def body(**changes: Any) -> dict[str, Any]:
    return {
        "dataset": {"columns": {"x": X, "y": NOTEBOOK["y"]}},
        "target": "y",
        "init": {"weights": GIVEN},
        "dtype": "float64",
    } | changes


def range_test(client: httpx.Client, **changes: Any) -> dict[str, Any]:
    answer = client.post(URL, json=body(**changes), headers=WAIT)
    assert answer.status_code == 200, answer.text
    ended: dict[str, Any] = answer.json()
    return ended


def until_running(client: httpx.Client, test: dict[str, Any]) -> None:
    deadline = time.monotonic() + 30
    while client.get(f"{URL}/{test['id']}").json()["status"] == "queued":
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_curve_and_its_suggestion_are_torch_lr_finders(
    client: httpx.Client, momentum: float
) -> None:
    x, y = np.array(X)[:, None], np.array(NOTEBOOK["y"])[:, None]
    found = find_lr(
        x, y, GIVEN, torch.optim.SGD, {"lr": 1e-7, "momentum": momentum},
        batch_size=100, epochs=itertools.repeat([*range(100)]),
    )  # fmt: skip

    ended = range_test(client, optimizer={"kind": "sgd", "momentum": momentum})

    assert (ended["status"], ended["stop_reason"]) == ("succeeded", "diverged")
    result = ended["result"]
    np.testing.assert_allclose(result["lr"], found.lr, rtol=1e-12)
    np.testing.assert_allclose(result["loss"], found.loss, rtol=1e-9)
    assert result["suggestion"]["steepest"] == pytest.approx(found.suggestion, rel=1e-12)
    assert result["suggestion"]["valley"] in result["lr"]
    assert result["stop_reason"] == "diverged"


def test_the_suggestion_is_a_rate_to_fit_with(client: httpx.Client) -> None:
    ended = range_test(client, start_lr=1e-4)

    lr = ended["result"]["suggestion"]["valley"]
    spec = body(optimizer={"kind": "sgd", "lr": lr}, steps=2_000)
    fit = client.post("/v1/fits", json=spec, headers=WAIT).json()

    assert fit["status"] == "succeeded"
    assert fit["final_loss"] == pytest.approx(NOTEBOOK["ols"]["mse"], rel=1e-6)


def test_its_picture_is_drawn_and_kept(client: httpx.Client) -> None:
    ended = range_test(client)
    png = ended["plots"]["lr"]

    first, again = client.get(png), client.get(png)
    svg = client.get(png.removesuffix("png") + "svg", params={"theme": "dark", "width": 400})

    assert first.status_code == 200, first.text
    assert first.content.startswith(b"\x89PNG")
    assert again.content == first.content
    assert svg.content.startswith(b"<?xml")


def test_a_running_one_is_cancelled_with_its_curve_so_far(client: httpx.Client) -> None:
    test = client.post(URL, json=body(**SLOW)).json()
    until_running(client, test)

    cancelling = client.post(test["urls"]["cancel"])
    ended = client.get(f"{URL}/{test['id']}", headers=WAIT).json()

    assert cancelling.status_code == 202
    assert (ended["status"], ended["stop_reason"]) == ("cancelled", "cancelled")
    assert len(ended["result"]["lr"]) == len(ended["result"]["loss"]) < SLOW["num_iter"]
    assert ended["result"]["suggestion"] is None
