"""The client's commands, run against a script of answers, and what such answers hold."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from typer.testing import CliRunner, Result

from service.cli import app
from tests.service.scripted import Answer, Scripted, said, told

FIT_ID = "fit_01KB2Q3M6X8T5V9W0Y1Z2A3B4C"
BATCH_ID = "bat_01KB2Q3M6X8T5V9W0Y1Z2A3B4C"
PLOT = f"http://127.0.0.1:8000/v1/fits/{FIT_ID}/plots/loss.png?and=what#makes-it-longer-than-a-line"
DATASET = {"id": "ds_01KB2Q3M6X8T5V9W0Y1Z2A3B4C", "object": "dataset"}


def fit(status: str, **changes: Any) -> dict[str, Any]:
    """What a command looks at of a fit."""
    step = 5 if status == "running" else 10
    return {
        "id": FIT_ID, "object": "fit", "status": status, "stop_reason": None, "error": None,
        "dataset": {"id": DATASET["id"], "n_rows": 3}, "finished_at": None, "final_loss": 0.125,
        "progress": {"step": step, "total_steps": 10, "loss": 0.5, "eta_seconds": 7.2},
        "coefficients": {"[red]x[/red]": 2.0}, "metrics": {"train": {"r2": 0.5}}, "checks": [],
        "urls": {"page": "http://127.0.0.1:8000/#fit"}, "plots": {"loss": PLOT},
    } | changes  # fmt: skip


def batch(status: str, metric: str = "final_loss", mode: str = "min", **counts: int) -> Any:
    """What a command looks at of a batch of two fits."""
    none = dict.fromkeys(("queued", "running", "succeeded", "failed", "cancelled"), 0)
    return {
        "id": BATCH_ID, "object": "batch", "status": status, "n_fits": 2, "counts": none | counts,
        "select": {"metric": metric, "mode": mode}, "urls": {"self": "http://127.0.0.1/bat"},
    }  # fmt: skip


def results(*scores: float | None) -> Answer:
    """The lines of a batch's results."""
    rows = [
        {
            "id": f"fit_01KB2Q3M6X8T5V9W0Y1Z2A3B4{number}", "varied": {"model.hidden": [4, number]},
            "status": "failed" if score is None else "succeeded", "score": score,
            "error": "diverged" if score is None else None, "final_loss": 9.0, "metrics": None,
        }
        for number, score in enumerate(scores)
    ]  # fmt: skip
    return Answer(body=b"".join(json.dumps(row).encode() + b"\n" for row in rows))


def thalweg(script: Scripted | None, *arguments: str, **variables: str) -> Result:
    """Run a command against the script, in this process."""
    url = "http://127.0.0.1:1" if script is None else script.url
    environment = {"THALWEG_URL": url, "THALWEG_RETRY_SECONDS": "0", "COLUMNS": None}
    return CliRunner().invoke(app, arguments, env=environment | variables)


def following(path: str, *events: tuple[int, str, Any], ended: Any, begun: Any = None) -> Any:
    """The script of a job that is looked up, followed and looked up again."""
    first = said(begun or ended)
    return {f"GET {path}": [first, said(ended)], f"GET {path}/events": told(*events)}


FIT_PATH, BATCH_PATH = f"/v1/fits/{FIT_ID}", f"/v1/batches/{BATCH_ID}"


def end(status: str) -> tuple[int, str, Any]:
    """The last event of a job that ended so."""
    return (9, "end", {"status": status, "stop_reason": None})


@contextmanager
def process(script: Scripted, *arguments: str, **how: Any) -> "Iterator[subprocess.Popen[str]]":
    """Run a command against the script, in a process of its own, which no failure leaves behind."""
    # Whoever runs the tests may ignore Ctrl-C, and a child would as well.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        running = subprocess.Popen(
            [sys.executable, "-m", "service.cli", *arguments],
            env=os.environ | {"THALWEG_URL": script.url},
            text=True,
            **how,
        )
    finally:
        signal.signal(signal.SIGINT, before)
    with running:
        try:
            yield running
        finally:
            # It has ended, unless the block has failed.
            running.kill()
