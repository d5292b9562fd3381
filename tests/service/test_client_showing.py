"""What the client prints, and where: tables, JSON, retries, readers that leave."""

import json
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from service.client.exits import Exit
from tests.service.commands import (
    BATCH_ID,
    BATCH_PATH,
    DATASET,
    FIT_ID,
    FIT_PATH,
    PLOT,
    batch,
    fit,
    following,
    process,
    results,
    thalweg,
)
from tests.service.scripted import Answer, problem, said, scripted


def test_every_retry_is_told_on_stderr_alone() -> None:
    busy = problem(503, "queue_full", "the queue is full", retry_after=0)
    with scripted(**{f"GET {FIT_PATH}": [busy, said(fit("succeeded"))]}) as script:
        looked = thalweg(script, "get", FIT_ID, "--json", "--retry-seconds", "5")

    assert looked.exit_code == Exit.DONE
    assert json.loads(looked.stdout)["id"] == FIT_ID
    pattern = r"thalweg: 503 Service Unavailable: the queue is full; trying again in 0\.\d s\n"
    assert re.fullmatch(pattern, looked.stderr)


@pytest.mark.parametrize("metric", ["train.loss", "validation.loss", "train.r2"])
def test_a_sweeps_table_goes_by_its_metric(csv_file: str, metric: str) -> None:
    mode = "max" if metric == "train.r2" else "min"
    ended = batch("succeeded", metric, mode, succeeded=2)
    answers = {
        "POST /v1/datasets": said(DATASET, 201),
        "POST /v1/batches": said(ended, 202),
        f"GET {BATCH_PATH}/results.ndjson": results(0.75, 0.25),
    }
    axis = "model.hidden=[4,0],[4,1]"
    with scripted(**answers) as script:
        swept = thalweg(
            script, "sweep", csv_file, "--target", "y", "--grid", axis, "--metric", metric
        )

    rows = [line for line in swept.stdout.splitlines() if "fit_" in line]
    assert metric in swept.stdout
    scores = [re.findall(r"0\.\d+", row) for row in rows]
    assert scores == ([["0.25"], ["0.75"]] if mode == "min" else [["0.75"], ["0.25"]])
    assert json.loads(script.requests[1].body) == {
        "base": {
            "target": "y", "dataset": DATASET["id"], "epochs": 100, "model": {"kind": "mlp"}
        },
        "select": {"metric": metric},
        "grid": {"model.hidden": [[4, 0], [4, 1]]},
    }  # fmt: skip


def test_a_sweep_that_failed_says_why() -> None:
    lines = {f"GET {BATCH_PATH}/results.ndjson": results(None, None)}
    with scripted(**following(BATCH_PATH, ended=batch("failed", failed=2)) | lines) as script:
        looked = thalweg(script, "get", BATCH_ID)

    assert "fit_01KB2Q3M6X8T5V9W0Y1Z2A3B41 failed: diverged (model.hidden=[4, 1])" in looked.stdout


@pytest.mark.parametrize("variables", [{}, {"COLUMNS": "30"}])
def test_nothing_is_cut_and_nothing_is_markup(variables: Mapping[str, str]) -> None:
    # given a pipe, and a screen that is narrower than an id
    answers = {
        f"GET {FIT_PATH}": said(fit("succeeded")),
        f"GET {BATCH_PATH}": said(batch("succeeded", succeeded=1)),
        f"GET {BATCH_PATH}/results.ndjson": results(0.5),
    }
    with scripted(**answers) as script:
        one = thalweg(script, "get", FIT_ID, **variables)
        many = thalweg(script, "get", BATCH_ID, **variables)

    assert f"plot loss     {PLOT}\n" in one.stdout
    assert "[red]x[/red]  2\n" in one.stdout
    assert "│ fit_01KB2Q3M6X8T5V9W0Y1Z2A3B40 │" in many.stdout


def test_a_list_is_a_table_or_json() -> None:
    found = {"object": "list", "data": [fit("running")], "has_more": True, "next_cursor": "x"}
    answers = {
        "GET /v1/fits": said(found),
        "GET /v1/datasets": said({"object": "list", "data": [], "has_more": False}),
        f"DELETE {FIT_PATH}": Answer(204),
    }
    with scripted(**answers) as script:
        shown = thalweg(script, "list", "--limit", "1")
        whole = thalweg(script, "list", "--json")
        empty = thalweg(script, "list", "datasets")
        deleted = thalweg(script, "delete", FIT_ID)
        quietly = thalweg(script, "delete", FIT_ID, "--json")

    assert FIT_ID in shown.stdout
    assert "there are more: raise --limit" in shown.stdout
    assert json.loads(whole.stdout) == found
    assert empty.stdout == "there are none\n"
    assert (deleted.exit_code, deleted.stdout) == (Exit.DONE, f"{FIT_ID}: deleted\n")
    # an answer without a body is nothing in JSON either
    assert (quietly.exit_code, quietly.stdout) == (Exit.DONE, "")
    assert [r.path for r in script.requests][:2] == ["/v1/fits?limit=1", "/v1/fits?limit=20"]


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_reader_that_leaves_ends_the_command_quietly(form: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with (
        scripted(**{f"GET {FIT_PATH}": said(fit("succeeded"))}) as script,
        os.fdopen(writer, "wb") as pipe,
        process(script, "get", FIT_ID, *form, stdout=pipe, stderr=subprocess.PIPE) as running,
    ):
        _, stderr = running.communicate(timeout=30)

    assert (running.returncode, stderr) == (Exit.UNWRITABLE, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a disk that is always full")
def test_a_full_disk_is_said() -> None:
    with (
        scripted(**{f"GET {FIT_PATH}": said(fit("succeeded"))}) as script,
        Path("/dev/full").open("wb") as full,
        process(script, "get", FIT_ID, stdout=full, stderr=subprocess.PIPE) as running,
    ):
        _, stderr = running.communicate(timeout=30)

    assert running.returncode == Exit.UNWRITABLE
    assert stderr == "thalweg: stdout cannot be written: No space left on device\n"
