"""`thalweg fit`, `sweep` and the client's other commands against the real service."""

import gzip
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests import readme
from tests.proxy import Way, proxy_to


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


def test_fits_and_services_that_are_not_there(service_url: str) -> None:
    away = thalweg("http://127.0.0.1:1", "get", "fit_x", "--retry-seconds", "1")
    assert (away.returncode, "does not answer" in away.stderr) == (5, True)
    assert thalweg(service_url, "get", "fit_x").returncode == 1


def test_a_service_that_is_away_for_a_while_is_found_again(service_url: str, data: Path) -> None:
    # given a fit of some seconds, followed by way of a proxy
    url = httpx.URL(service_url)
    with proxy_to((url.host, url.port or 80)) as proxy:
        host, port = proxy.address
        command = [sys.executable, "-m", "service.cli", "fit", str(data), "--target", "y"]
        command += ["--steps", "30000", "--set", "strategy=reference"]
        running = subprocess.Popen(
            command,
            env=os.environ | {"THALWEG_URL": f"http://{host}:{port}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with running:
            # when every connection is cut, and none let through, for longer than a first pause
            for _ in range(2):
                time.sleep(2)
                proxy.go(Way.CLOSED)
                time.sleep(1.5)
                proxy.go(Way.THROUGH)
            stdout, stderr = running.communicate(timeout=120)

    # then it is there at the end
    assert running.returncode == 0, stderr
    assert "30000/30000 steps" in stderr
    assert "succeeded" in stdout


def test_a_cancelled_sweep_says_so(service_url: str, client: httpx.Client, data: Path) -> None:
    begun = thalweg(
        service_url, "sweep", data, "--target", "y", "--grid", "seed=1,2", "--steps", "2000000",
        "--set", "strategy=reference", "--detach",
    )  # fmt: skip
    batch_id = begun.stdout.strip()

    cancelled = thalweg(service_url, "cancel", batch_id)

    assert cancelled.returncode == 0, cancelled.stderr
    watched = thalweg(service_url, "watch", batch_id)
    assert (watched.returncode, "2 cancelled" in watched.stdout) == (4, True)
    assert "2/2 fits" in watched.stderr
    # an ended one is looked at in the same way
    again = thalweg(service_url, "watch", batch_id)
    assert (again.returncode, again.stdout) == (4, watched.stdout)
    assert "2/2 fits" in again.stderr


@pytest.mark.parametrize("metric", ["train.loss", "validation.loss"])
def test_a_sweeps_table_goes_by_losses(service_url: str, data: Path, metric: str) -> None:
    result = thalweg(
        service_url, "sweep", data, "--target", "y", "--grid", "model.hidden=[4,4],[8]",
        "--validation", "0.25", "--metric", metric, "--steps", "20",
    )  # fmt: skip

    assert result.returncode == 0, result.stderr
    rows = [line for line in result.stdout.splitlines() if "fit_" in line]
    assert {"[4, 4]" in row for row in rows} == {True, False}
    scores = [float(row.split("│")[3]) for row in rows]
    assert scores == sorted(scores)


def test_a_table_is_kept_listed_shown_and_forgotten(service_url: str, tmp_path: Path) -> None:
    table = tmp_path / "gaps.csv.gz"
    table.write_bytes(gzip.compress(b"a;b\n1;x\n;y\n3;y\n"))
    refused = thalweg(service_url, "upload", table, "--delimiter", ";")
    assert (refused.returncode, refused.stderr) == (
        1, "thalweg: row 1, column 'a': a value is missing\n",
    )  # fmt: skip

    kept = thalweg(service_url, "upload", table, "--delimiter", ";", "--drop-missing", "--json")

    dataset = json.loads(kept.stdout)
    assert (dataset["name"], dataset["n_rows"], dataset["n_dropped"]) == ("gaps.csv.gz", 2, 1)
    shown = thalweg(service_url, "get", dataset["id"]).stdout
    assert shown.startswith(f"{dataset['id']}: gaps.csv.gz: 2 rows")
    assert "category" in shown
    assert dataset["id"] in thalweg(service_url, "list", "datasets").stdout
    assert thalweg(service_url, "delete", dataset["id"]).returncode == 0
    assert thalweg(service_url, "get", dataset["id"]).returncode == 1


def test_a_range_test_is_shown_and_watched(service_url: str, client: httpx.Client) -> None:
    columns = {"x": [-1.0, -0.5, 0.0, 0.5, 1.0], "y": [1.1, 2.2, 2.9, 4.1, 5.0]}
    body = {"dataset": {"columns": columns}, "target": "y", "optimizer": {"kind": "sgd"}}
    test_id = client.post("/v1/lr-range-tests", json=body).json()["id"]

    watched = thalweg(service_url, "watch", test_id)

    assert watched.returncode == 0, watched.stderr
    assert "suggested lr, steepest" in watched.stdout
    assert test_id in thalweg(service_url, "list", "lr-range-tests").stdout


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
    assert "[4, 4]" in shell.stdout
