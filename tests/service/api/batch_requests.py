"""Batches as tests ask for them and look at them, and what a worker does with their fits."""

from typing import Any

from flask.testing import FlaskClient

from service.context import Context
from service.schemas.answers.batches import Batch
from service.schemas.answers.fits import FitList
from tests.service.claiming import claim_one, finish_one

COLUMNS = {"x": [1.0, 2.0, 3.0], "y": [2.0, 3.0, 4.5]}
BASE: dict[str, Any] = {"dataset": {"columns": COLUMNS}, "target": "y", "steps": 3}
GRID = {"optimizer.lr": [0.1, 0.2, 0.3], "seed": [0, 1]}
NDJSON = {"Content-Type": "application/x-ndjson"}
OWNER = "open"


def create(http: FlaskClient, status: int = 202, **request: Any) -> Any:
    answer = http.post("/v1/batches", json={"base": BASE, "grid": GRID} | request)
    assert answer.status_code == status, answer.text
    return answer.get_json(force=True)


def listed(http: FlaskClient, *bodies: Any, status: int = 202, **more: Any) -> Any:
    answer = http.post("/v1/batches", json={"fits": bodies} | more)
    assert answer.status_code == status, answer.text
    return answer.get_json(force=True)


def members(http: FlaskClient, batch: Any) -> list[Any]:
    """The batch's fits in their order."""
    answer = http.get(f"/v1/batches/{batch['id']}/fits?limit=1000")
    FitList.model_validate(answer.get_json())
    return [*reversed(answer.get_json()["data"])]


def look(http: FlaskClient, batch: Any) -> Any:
    shown = http.get(f"/v1/batches/{batch['id']}").get_json()
    Batch.model_validate(shown)
    assert sum(shown["counts"].values()) == shown["n_fits"]
    return shown


def end(context: Context, fit_id: str, *, status: str = "succeeded", **result: Any) -> None:
    """What a worker does at the end of a fit."""
    claim = claim_one(context, fit_id, "worker")
    assert claim is not None
    whole = {
        "final_loss": 1.0, "metrics": {"train": {"mse": 1.0}, "validation": None},
        "coefficients": {"intercept": 0.5, "x": 2.0}, "loss_history": None,
    } | result  # fmt: skip
    stop_reason = "completed" if status == "succeeded" else "error"
    assert finish_one(context, claim, status=status, stop_reason=stop_reason, result=whole)


def counts(**given: int) -> dict[str, int]:
    return dict.fromkeys(("queued", "running", "succeeded", "failed", "cancelled"), 0) | given
