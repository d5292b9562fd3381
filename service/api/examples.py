"""Bodies and answers that the OpenAPI document shows."""

import json
from pathlib import Path
from typing import Any

from service.reproduction import script

# What the service once said, by the model of the answer.
ANSWERS: dict[str, Any] = json.loads((Path(__file__).parent / "answers.json").read_text())
for _one in ("Dataset", "Fit", "LrRangeTest", "Batch"):
    ANSWERS[f"{_one}List"] = {
        "object": "list",
        "data": [ANSWERS[_one]],
        "has_more": False,
        "next_cursor": None,
    }
# What a path's parameters can be.
IDS = {
    "dataset_id": ANSWERS["Dataset"]["id"],
    "fit_id": ANSWERS["Fit"]["id"],
    "batch_id": ANSWERS["Batch"]["id"],
    "test_id": ANSWERS["LrRangeTest"]["id"],
}
SCRIPT = script(
    ANSWERS["Fit"]["spec"],
    ANSWERS["Dataset"]["columns"],
    ANSWERS["Dataset"]["digest"],
    ANSWERS["Dataset"]["n_rows"],
)
# A whole drawing where it is text; else how its bytes begin.
PICTURES = {
    "image/svg+xml": (
        '<svg xmlns="http://www.w3.org/2000/svg" width="800" height="500">'
        '<path d="M80 60 L400 380 L760 420" fill="none" stroke="#1f77b4"/></svg>\n'
    ),
    "image/gif": "GIF89a…",
}
PREDICTIONS_CSV = "prediction\n-1.3\n1.9\n"
HISTORY_CSV = "step,epoch,loss,lr,grad_norm\n0,0,25.5,0.1,10.8\n1,1,16.4,0.1,8.6\n"
RESULTS_CSV = (
    "id,status,stop_reason,optimizer.lr,final_loss\nfit_01M8,succeeded,completed,0.1,1.4\n"
)
METRICS = 'thalweg_fits_total{kind="fit",status="succeeded",strategy="spectral"} 7.0\n'
EVENTS = (
    'id: 1\nevent: status\ndata: {"status": "running", "stop_reason": null}\n\n'
    'id: 2\nevent: end\ndata: {"status": "succeeded", "stop_reason": "completed"}\n\n'
)

DATASET_COLUMNS = {
    "name": "five points",
    "columns": {"x": [-1, -0.5, 0, 0.5, 1], "y": [1.1, 2.2, 2.9, 4.1, 5.0]},
}
NDJSON_UPLOAD = '{"x": -1, "y": 1.1}\n{"x": 0, "y": 2.9}\n{"x": 1, "y": 5.0}\n'
CSV_UPLOAD = "x,y\n-1,1.1\n0,2.9\n1,5.0\n"
FIT = {
    "dataset": {"columns": DATASET_COLUMNS["columns"]},
    "target": "y",
    "model": {"kind": "linear"},
    "loss": {"kind": "mse"},
    "optimizer": {"kind": "sgd", "lr": 0.1},
    "steps": 500,
    "init": {"weights": {"weight": [[-3]], "bias": [-2]}},
    "dtype": "float64",
}
BATCH = {
    "base": {"dataset": FIT["dataset"], "target": "y", "steps": 500, "dtype": "float64"},
    "grid": {"optimizer.lr": [0.01, 0.1, 0.5], "seed": [0, 1]},
    "select": {"metric": "final_loss", "mode": "min"},
}
BATCH_LINES = (
    '{"dataset": {"generator": {"kind": "sine", "n": 20}}, "target": "y", "steps": 5}\n'
    '{"dataset": {"generator": {"kind": "sine", "n": 20}}, "target": "y", "steps": 5, "seed": 1}\n'
)
PREDICTION = {"features": {"x": [-1, 0.5]}}
CHECKS = {
    "checks": [
        {"target": "final_loss", "expected": 0.0832, "rtol": 1e-3, "points": 2},
        {"target": "coefficients.x", "expected": 1.98, "atol": 0.01, "hidden": True},
    ]
}
EVALUATION = {"dataset": {"columns": DATASET_COLUMNS["columns"]}}
GRADIENT = {
    "dataset": {"columns": DATASET_COLUMNS["columns"]},
    "target": "y",
    "weights": {"weight": [[-3]], "bias": [-2]},
}
LR_RANGE_TEST = {
    "dataset": FIT["dataset"],
    "target": "y",
    "optimizer": {"kind": "adam"},
    "start_lr": 1e-5,
    "end_lr": 1,
}
