"""Batches on the real service: one call, many fits, their end, their results."""

import json
from typing import Any

import httpx
import pytest

from tests.stack.given import TRAINING, WAIT, refused, url

GRID = {"optimizer.lr": [0.01, 0.1, 1e6], "seed": [0, 1, 2]}


def posted(client: httpx.Client, headers: dict[str, str] | None = None, **request: Any) -> Any:
    answer = client.post("/v1/batches", json=request, headers=headers or {})
    assert answer.status_code in (200, 202), answer.text
    return answer


def base(dataset: Any, **changes: Any) -> dict[str, Any]:
    return {
        "dataset": dataset, "features": ["x"], "target": "y", "steps": 200, "dtype": "float64",
    } | changes  # fmt: skip


def test_a_batch_is_waited_for_and_read(client: httpx.Client, training: str) -> None:
    # given a sweep in which a third of the rates is far too large
    answer = posted(client, WAIT, base=base(training), grid=GRID)

    # then it ends within the wait, and says which fit is the best
    batch = answer.json()
    assert (answer.status_code, answer.headers["Preference-Applied"]) == (200, "wait=60")
    assert (batch["status"], batch["counts"]["succeeded"]) == ("succeeded", 6)
    assert batch["counts"]["failed"] == 3
    lines = [json.loads(line) for line in client.get(batch["results"]["ndjson"]).text.splitlines()]
    losses = {one["id"]: one["final_loss"] for one in lines if one["status"] == "succeeded"}
    best = batch["best"]
    assert best["value"] == losses[best["id"]] == min(losses.values())
    assert {one["stop_reason"] for one in lines if one["varied"]["optimizer.lr"] == 1e6} == {
        "diverged"
    }

    # and each fit is an ordinary one, with the numbers that it gets alone
    fit = client.get(f"/v1/fits/{best['id']}").json()
    alone = client.post("/v1/fits", json=fit["spec"], headers=WAIT).json()
    assert (fit["weights"], fit["loss_history"]) == (alone["weights"], alone["loss_history"])
    assert client.get(fit["artifacts"]["history"]["csv"]).status_code == 200


def test_a_batch_is_cancelled_while_it_runs(client: httpx.Client, training: str) -> None:
    long = {"steps": 1_000_000, "strategy": "reference"}
    batch = posted(client, base=base(training, **long), grid={"seed": [*range(4)]}).json()

    answer = client.post(batch["urls"]["cancel"])

    assert answer.status_code == 202, answer.text
    ended = client.get(url(batch), headers=WAIT).json()
    assert (ended["status"], ended["counts"]["cancelled"]) == ("cancelled", 4)
    refused(client.post(batch["urls"]["cancel"]), 409)


@pytest.mark.slow
def test_ten_thousand_fits_are_taken_and_computed(client: httpx.Client) -> None:
    # given ten thousand fits of the notebook's size
    columns = {"columns": {name: TRAINING[name] for name in ("x", "y")}}
    grid = {"optimizer.lr": [i / 1000 for i in range(1, 101)], "seed": [*range(100)]}

    batch = posted(client, base=base(columns, steps=100), grid=grid).json()

    # then at every moment the counts add up, until all have ended
    while True:
        shown = client.get(url(batch), headers={"Prefer": "wait=5"}).json()
        assert sum(shown["counts"].values()) == 10_000
        if shown["finished_at"] is not None:
            break
    assert shown["counts"]["succeeded"] == 10_000
    rows = client.get(batch["results"]["csv"]).text.splitlines()
    assert len(rows) == 10_001
