"""Datasets and fits that tests of the HTTP surface begin with."""

from typing import Any

import numpy as np
from flask.testing import FlaskClient

from service.artifacts import store_arrays
from service.context import Context
from tests.service.claiming import claim_one, finish_one

COLUMNS = {"x": [1, 2.5], "y": [1, 2]}
HISTORY = {
    "step": np.arange(3),
    "epoch": np.arange(3),
    "loss": np.array([0.1 + 0.2, 1e-17, 3.0]),
    "lr": np.full(3, 0.1),
    "grad_norm": np.array([1.0, np.inf, 2.0]),
    "epochs.epoch": np.arange(3),
    "epochs.train_loss": np.array([0.3, 0.2, 0.1]),
    "epochs.validation_loss": np.full(3, np.nan),
}
WEIGHTS = {"weight": np.array([[0.1]], dtype=np.float32), "bias": np.array([2], dtype=np.float32)}


def create_dataset(http: FlaskClient, **more: Any) -> dict[str, Any]:
    """A dataset of two rows, as it is answered."""
    answer = http.post("/v1/datasets", json={"columns": COLUMNS} | more)
    assert answer.status_code == 201
    body: dict[str, Any] = answer.get_json()
    return body


def create_fit(http: FlaskClient, **changes: Any) -> dict[str, Any]:
    """A queued fit to them, as it is answered."""
    body = {"dataset": {"columns": COLUMNS}, "target": "y", "steps": 3} | changes
    answer = http.post("/v1/fits", json=body)
    assert answer.status_code == 202, answer.text
    fit: dict[str, Any] = answer.get_json()
    return fit


def end(context: Context, fit_id: str, **more: dict[str, Any]) -> None:
    """What a worker does at the end of a fit."""
    claim = claim_one(context, fit_id, "worker")
    assert claim is not None
    rows = [
        store_arrays(context, claim.fit_id, claim.fence, "weights", WEIGHTS),
        store_arrays(context, claim.fit_id, claim.fence, "history", HISTORY),
    ]
    rows += [store_arrays(context, fit_id, claim.fence, *one) for one in more.items()]
    history = {"step": [0], "loss": [1.0], "n": 1, "thinned": False}
    finish_one(
        context,
        claim,
        status="succeeded",
        stop_reason="completed",
        result={
            "loss_history": history,
            "final_loss": 0.5,
            "coefficients": {"x": 1.0},
            "fingerprint": {"strategy": "reference"},
            "plots": ["loss", "fit", "animation"],
        },
        artifacts=rows,
    )
