"""A fit's script over HTTP: fetched, run on the dataset's CSV, its weights compared."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.service.tables.given import CSV
from tests.stack.given import LONG, NETWORK, cancel_running, fit, refused, url


def content(client: httpx.Client, body: Any, directory: Path) -> Path:
    path = directory / "dataset.csv"
    dataset = client.get(f"/v1/datasets/{body['dataset']['id']}/content", headers={"Accept": CSV})
    path.write_bytes(dataset.content)
    return path


def run_script(client: httpx.Client, body: Any, table: Path) -> "subprocess.CompletedProcess[str]":
    """The fit's script on the table, in a process that knows nothing of this project."""
    answer = client.get(body["artifacts"]["reproduce"])
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "text/x-python; charset=utf-8"
    assert len(answer.text.splitlines()) <= 150
    script = table.parent / "reproduce.py"
    script.write_text(answer.text, "utf-8")
    return subprocess.run(
        [sys.executable, "-I", str(script), str(table)],
        cwd=table.parent, env={}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def assert_reproduced(client: httpx.Client, body: Any, directory: Path) -> None:
    done = run_script(client, body, content(client, body, directory))
    assert (done.returncode, done.stderr) == (0, "")
    weights = json.loads(done.stdout)
    assert list(weights) == list(body["weights"])
    for name, expected in body["weights"].items():
        largest = np.abs(expected).max()
        np.testing.assert_allclose(weights[name], expected, rtol=1e-12, atol=1e-12 * largest)


REPRODUCED: dict[str, dict[str, Any]] = {
    "compiled": {"optimizer": {"kind": "sgd", "lr": 0.05, "momentum": 0.5}, "batch_size": 8},
    "network": {"target": "third", "loss": {"kind": "cross_entropy"}, "standardize": True,
                "model": NETWORK, "batch_size": 16, "validation": {"fraction": 0.2}},
    "stopped early": {"batch_size": 10, "optimizer": {"kind": "sgd", "lr": 0.1},
                      "early_stopping": {"monitor": "train_loss", "patience": 1}},
}  # fmt: skip


@pytest.mark.parametrize("name", REPRODUCED)
def test_a_fit_is_reproduced_on_the_readers_machine(
    client: httpx.Client, training: str, tmp_path: Path, name: str
) -> None:
    body = fit(client, training, **REPRODUCED[name])

    assert_reproduced(client, body, tmp_path)
    other = tmp_path / "other.csv"
    other.write_text((tmp_path / "dataset.csv").read_text().replace("red", "Red", 1))
    refused_ = run_script(client, body, other)

    assert (refused_.returncode, refused_.stdout) == (1, "")
    assert "another table" in refused_.stderr
    assert "Traceback" not in refused_.stderr


@pytest.mark.parametrize(("strategy", "rtol"), [("auto", 1e-4), ("reference", 0)])
def test_float32_comes_as_near_as_the_readme_says(
    client: httpx.Client, training: str, tmp_path: Path, strategy: str, rtol: float
) -> None:
    body = fit(client, training, dtype="float32", strategy=strategy, steps=300, epochs=None)

    done = run_script(client, body, content(client, body, tmp_path))

    for name, weights in json.loads(done.stdout).items():
        np.testing.assert_allclose(weights, body["weights"][name], rtol=rtol, atol=rtol)


def test_fits_that_were_ended_are_reproduced_up_to_there(
    client: httpx.Client, training: str, tmp_path: Path
) -> None:
    stopping = {"monitor": "train_loss", "patience": 10_000_000}
    long = LONG | {"batch_size": 16, "early_stopping": stopping}
    late = fit(client, training, limits={"max_seconds": 1.0}, **long)
    waiting = client.post(
        "/v1/fits",
        json=late["spec"] | {"limits": {"max_seconds": 60}, "batch_size": 10},
    ).json()
    cancelled = cancel_running(client, waiting)
    diverged = fit(client, training, status="failed", optimizer={"kind": "sgd", "lr": 10.0})

    assert late["stop_reason"] == "time_limit"
    for body in (late, cancelled, diverged):
        assert 0 < body["progress"]["step"] < body["progress"]["total_steps"]
        assert_reproduced(client, body, tmp_path)


def test_what_no_script_can_do_is_told(client: httpx.Client, training: str) -> None:
    first = fit(client, training)
    second = fit(client, training, init={"fit": first["id"]})
    weightless = fit(client, training, status="failed", dtype="float32", features=["x"],
                     init={"weights": {"weight": [[1e300]], "bias": [0]}})  # fmt: skip

    for body, word in ((second, "another fit's weights"), (weightless, "no weights")):
        problem = refused(client.get(f"{url(body)}/reproduce.py"), 404)
        assert problem["code"] == "not_reproducible"
        assert word in problem["detail"]
        assert "reproduce" not in body["artifacts"]
