"""`thalweg fit`, `sweep`, `get` and `watch` against the real service."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests import readme


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A line with some noise, as a CSV file."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=60).round(3)
    y = (2 * x + 1 + rng.normal(size=60) / 10).round(3)
    path = tmp_path_factory.mktemp("data") / "data.csv"
    path.write_text("x,y\n" + "".join(f"{a},{b}\n" for a, b in zip(x, y, strict=True)))
    return path


def thalweg(url: str, *arguments: Any) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "service.cli", *map(str, arguments)],
        env=os.environ | {"THALWEG_URL": url, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_fit_is_shown_for_people(service_url: str, data: Path) -> None:
    result = thalweg(service_url, "fit", data, "--target", "y", "--lr", "0.1", "--steps", "300")

    assert result.returncode == 0, result.stderr
    for shown in ("succeeded", "completed", "final loss", "intercept", "train r2", "plot loss"):
        assert shown in result.stdout
    assert "300/300 steps" in result.stderr


def test_a_fit_is_json_for_scripts(service_url: str, data: Path) -> None:
    result = thalweg(
        service_url, "fit", data, "--target", "y", "--hidden", "8,8", "--activation", "tanh",
        "--optimizer", "adam", "--lr", "0.01", "--epochs", "5", "--batch-size", "16",
        "--validation", "0.25", "--seed", "3", "--set", "tags=[\"cli\"]", "--json",
    )  # fmt: skip

    assert (result.returncode, result.stderr) == (0, "")
    fit = json.loads(result.stdout)
    assert fit["status"] == "succeeded"
    assert fit["spec"]["model"]["hidden"] == [8, 8]
    assert fit["spec"]["tags"] == ["cli"]
    # and it can be looked up
    again = thalweg(service_url, "get", fit["id"], "--json")
    assert json.loads(again.stdout) == fit
    assert "succeeded" in thalweg(service_url, "get", fit["id"]).stdout
    assert thalweg(service_url, "watch", fit["id"], "--json").returncode == 0


def test_a_sweep_names_its_best(service_url: str, data: Path) -> None:
    result = thalweg(
        service_url, "sweep", data, "--target", "y", "--grid", "optimizer.lr=0.5,0.05,0.005",
        "--set", "steps=40",
    )  # fmt: skip

    assert result.returncode == 0, result.stderr
    assert "3 succeeded" in result.stdout
    rows = [line for line in result.stdout.splitlines() if "fit_" in line]
    assert len(rows) == 3
    assert " 0.5 " in rows[0]
    assert "3/3 fits" in result.stderr


def test_random_draws_are_a_sweep_too(service_url: str, data: Path) -> None:
    result = thalweg(
        service_url, "sweep", data, "--target", "y", "-n", "4", "--set", "steps=5", "--json",
        "--random", "optimizer.lr=log_uniform:1e-4:0.5", "--metric", "train.mse",
    )  # fmt: skip

    batch = json.loads(result.stdout)
    assert batch["counts"]["succeeded"] == 4
    assert batch["select"] == {"metric": "train.mse", "mode": "min"}


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--target", "z"], 1, "/target: the dataset has no column 'z'"),
        (["--target", "y", "--set", "optimizer.lrr=1"], 1, "/optimizer/lrr"),
        (["--target", "y", "--lr", "1e6", "--steps", "900"], 3, "diverged"),
        (["--target", "y", "--epochs", "0"], 2, "--epochs"),
    ],
)
def test_exit_codes_mean_something(
    service_url: str, data: Path, arguments: list[str], code: int, told: str
) -> None:
    result = thalweg(service_url, "fit", data, *arguments)

    assert result.returncode == code, result.stderr
    assert told in result.stdout + result.stderr


def test_files_and_services_that_are_not_there(service_url: str, tmp_path: Path) -> None:
    missing = thalweg(service_url, "fit", tmp_path / "none.csv", "--target", "y")
    assert missing.returncode == 1
    assert "none.csv: No such file" in missing.stderr
    odd = thalweg(service_url, "fit", tmp_path / "none.doc", "--target", "y")
    assert "the suffix must be one of" in odd.stderr
    away = thalweg("http://127.0.0.1:1", "get", "fit_x")
    assert (away.returncode, "does not answer" in away.stderr) == (5, True)
    assert thalweg(service_url, "get", "what").returncode == 1
    assert thalweg(service_url, "get", "fit_x").returncode == 1


def test_a_detached_fit_is_watched_and_a_cancelled_one_says_so(
    service_url: str, client: httpx.Client, data: Path
) -> None:
    begun = thalweg(
        service_url, "fit", data, "--target", "y", "--steps", "2000000", "--detach",
        "--set", "strategy=reference",
    )  # fmt: skip
    fit_id = begun.stdout.strip()
    assert fit_id.startswith("fit_")

    assert client.post(f"/v1/fits/{fit_id}/cancel").status_code == 202

    watched = thalweg(service_url, "watch", fit_id)
    assert (watched.returncode, "cancelled" in watched.stdout) == (4, True)


def test_the_readmes_commands_work_as_pasted(service_url: str, tmp_path: Path) -> None:
    commands = readme.code("The command line", "sh")
    programs = Path(sys.executable).parent
    shell = subprocess.run(
        ["bash", "-eu", "-c", commands],
        cwd=tmp_path,
        env=os.environ | {"THALWEG_URL": service_url, "PATH": f"{programs}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert shell.returncode == 0, shell.stderr
    assert "9 succeeded" in shell.stdout
