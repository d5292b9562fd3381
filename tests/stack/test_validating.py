"""Fits that are validated and never queued, over HTTP on the real service."""

from typing import Any

import httpx
import pytest

from service.schemas.answers.fits import ValidFit
from tests.stack.given import N_ROWS, TRAINING, WAIT, fit, refused


def stored(client: httpx.Client) -> list[Any]:
    return [client.get(f"/v1/{kind}?limit=1").json()["data"] for kind in ("fits", "datasets")]


def test_a_fit_is_validated_as_it_would_be_queued(client: httpx.Client, training: str) -> None:
    body = {"dataset": training, "target": "y", "features": ["x", "z"], "steps": 50}
    before = stored(client)

    found = client.post("/v1/fits:validate", json=body)
    inline = client.post("/v1/fits:validate", json=body | {"dataset": {"columns": TRAINING}})

    assert found.status_code == 200, found.text
    ValidFit.model_validate(found.json())
    assert stored(client) == before
    queued = client.post("/v1/fits", json=body, headers=WAIT).json()
    assert found.json()["spec"] == queued["spec"]
    assert found.json()["n_parameters"] == queued["diagnostics"]["n_parameters"] == 3
    described = inline.json()["spec"].pop("dataset")
    assert (described["digest"], described["n_rows"]) == (queued["dataset"]["digest"], N_ROWS)
    assert inline.json() | {"spec": {}} == found.json() | {"spec": {}}


@pytest.mark.parametrize(
    "spec",
    [
        {"steps": 20_000},
        {"steps": 300_000, "optimizer": {"kind": "sgd", "lr": 0.01}},
        {"epochs": 100, "batch_size": 16, "model": {"kind": "mlp", "hidden": [32, 32]}},
    ],
)
def test_the_seconds_are_of_the_right_size(
    client: httpx.Client, training: str, spec: dict[str, Any]
) -> None:
    body = fit(client, training, steps=None, **spec) if "epochs" in spec else (
        fit(client, training, **spec)
    )  # fmt: skip
    spent = body["diagnostics"]["seconds"]
    took = spent["data"] + spent["compute"] + spent["record"]

    seconds = client.post("/v1/fits:validate", json=body["spec"]).json()["seconds"]

    # Within five on a machine that does nothing else.
    assert took / 15 < seconds < 15 * took


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"target": "nope"}, 422),
        ({"dataset": "ds_none"}, 404),
        ({"dataset": {"columns": {"x": [1, None]}}}, 422),
        ({"optimizer": {"kind": "sgd", "learning_rate": 1}}, 422),
        ({"init": {"fit": "fit_none"}}, 404),
    ],
)
def test_what_is_not_valid_is_refused_as_the_real_call_does(
    client: httpx.Client, training: str, changes: dict[str, Any], status: int
) -> None:
    body = {"dataset": training, "target": "y", "features": ["x"], "steps": 5} | changes

    validated, queued = (
        refused(client.post(path, json=body), status) for path in ("/v1/fits:validate", "/v1/fits")
    )

    for problem in (validated, queued):
        for own in ("instance", "request_id"):
            del problem[own]
    assert validated == queued
