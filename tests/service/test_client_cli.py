"""The client's commands as people and scripts meet them: codes, tables, refusals, Ctrl-C."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from service.cli import app
from service.client.exits import MEANINGS, Exit
from tests import readme
from tests.eventually import eventually
from tests.service.scripted import Answer, Scripted, problem, said, scripted, told

COMMANDS = ("fit", "sweep", "get", "watch", "cancel", "delete", "list", "upload")
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


@pytest.fixture
def table(tmp_path: Path) -> str:
    """A table's file."""
    path = tmp_path / "data.csv"
    path.write_text("x,y\n1,2\n")
    return str(path)


def following(path: str, *events: tuple[int, str, Any], ended: Any, begun: Any = None) -> Any:
    """The script of a job that is looked up, followed and looked up again."""
    first = said(begun or ended)
    return {f"GET {path}": [first, said(ended)], f"GET {path}/events": told(*events)}


FIT_PATH, BATCH_PATH = f"/v1/fits/{FIT_ID}", f"/v1/batches/{BATCH_ID}"


def end(status: str) -> tuple[int, str, Any]:
    return (9, "end", {"status": status, "stop_reason": None})


@pytest.mark.parametrize(
    ("job", "code"),
    [
        (fit("succeeded"), Exit.DONE),
        (fit("failed"), Exit.FAILED),
        (fit("cancelled"), Exit.CANCELLED),
        (batch("succeeded", succeeded=2), Exit.DONE),
        (batch("failed", failed=2), Exit.FAILED),
        (batch("succeeded", succeeded=1, failed=1), Exit.FAILED),
        # one of them was cancelled by itself
        (batch("succeeded", succeeded=1, cancelled=1), Exit.CANCELLED),
        (batch("failed", failed=1, cancelled=1), Exit.FAILED),
        (batch("cancelled", cancelled=2), Exit.CANCELLED),
        (batch("cancelled", failed=1, cancelled=1), Exit.CANCELLED),
    ],
)
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_the_code_is_the_end(job: dict[str, Any], code: Exit, form: list[str]) -> None:
    path = BATCH_PATH if job["object"] == "batch" else FIT_PATH
    lines = {f"GET {path}/results.ndjson": results(1.0, None)}
    with scripted(**following(path, ended=job) | lines) as script:
        watched = thalweg(script, "watch", job["id"], *form)
        looked = thalweg(script, "get", job["id"], *form)

    assert watched.exit_code == code
    assert looked.exit_code == Exit.DONE
    assert watched.stdout == looked.stdout
    if form:
        assert json.loads(watched.stdout) == job
        assert watched.stderr == ""


def test_a_batch_that_has_ended_is_shown_as_ended() -> None:
    lines = {f"GET {BATCH_PATH}/results.ndjson": results(1.0, None)}
    ended = batch("succeeded", succeeded=1, failed=1)
    with scripted(**following(BATCH_PATH, ended=ended) | lines) as script:
        watched = thalweg(script, "watch", BATCH_ID)

    assert "succeeded" in watched.stderr
    assert "2/2 fits failed: 1" in watched.stderr


def test_a_batch_is_followed_by_its_events() -> None:
    lines = {f"GET {BATCH_PATH}/results.ndjson": results(1.0, 2.0)}
    counts = batch("running", queued=1, succeeded=1)["counts"]
    job = following(
        BATCH_PATH, (3, "progress", {"counts": counts}), end("succeeded"),
        begun=batch("queued", queued=2), ended=batch("succeeded", succeeded=2),
    )  # fmt: skip
    with scripted(**job | lines) as script:
        watched = thalweg(script, "watch", BATCH_ID)

    assert watched.exit_code == Exit.DONE
    assert "2/2 fits failed: 0" in watched.stderr


def test_a_bar_ends_where_the_fit_did() -> None:
    early = fit("succeeded", stop_reason="early_stopped")
    early["progress"] = {"step": 4, "total_steps": 10, "loss": None, "eta_seconds": 0}
    job = following(FIT_PATH, end("succeeded"), begun=fit("running"), ended=early)
    with scripted(**job) as script:
        watched = thalweg(script, "watch", FIT_ID)

    assert "4/10 steps loss 0.125" in watched.stderr


def test_where_there_is_no_stream_the_fit_is_looked_up() -> None:
    answers: dict[str, Answer | list[Answer]] = {
        f"GET {FIT_PATH}": [said(fit("running")), said(fit("running")), said(fit("succeeded"))],
        f"GET {FIT_PATH}/events": problem(503, "too_many_streams", "128 are open"),
    }
    with scripted(**answers) as script:
        watched = thalweg(script, "watch", FIT_ID)

    assert watched.exit_code == Exit.DONE
    assert "10/10 steps" in watched.stderr
    assert script.requests[-1].headers["Prefer"].startswith("wait=")


def test_who_loses_the_service_is_told_that_the_fit_goes_on() -> None:
    answers = {
        f"GET {FIT_PATH}": said(fit("running")),
        f"GET {FIT_PATH}/events": problem(503, "unavailable", "the database does not answer"),
    }
    with scripted(**answers) as script:
        watched = thalweg(script, "watch", FIT_ID)

    assert watched.exit_code == Exit.UNREACHABLE
    assert "503 Service Unavailable: the database does not answer" in watched.stderr
    assert f"{FIT_ID} goes on: `thalweg watch {FIT_ID}` follows it" in watched.stderr


def test_every_retry_is_told_on_stderr_alone() -> None:
    busy = problem(503, "queue_full", "the queue is full", retry_after=0)
    with scripted(**{f"GET {FIT_PATH}": [busy, said(fit("succeeded"))]}) as script:
        looked = thalweg(script, "get", FIT_ID, "--json", "--retry-seconds", "5")

    assert looked.exit_code == Exit.DONE
    assert json.loads(looked.stdout)["id"] == FIT_ID
    pattern = r"thalweg: 503 Service Unavailable: the queue is full; trying again in 0\.\d s\n"
    assert re.fullmatch(pattern, looked.stderr)


@pytest.mark.parametrize("metric", ["train.loss", "validation.loss", "train.r2"])
def test_a_sweeps_table_goes_by_its_metric(table: str, metric: str) -> None:
    mode = "max" if metric == "train.r2" else "min"
    ended = batch("succeeded", metric, mode, succeeded=2)
    answers = {
        "POST /v1/datasets": said(DATASET, 201),
        "POST /v1/batches": said(ended, 202),
        f"GET {BATCH_PATH}/results.ndjson": results(0.75, 0.25),
    }
    axis = "model.hidden=[4,0],[4,1]"
    with scripted(**answers) as script:
        swept = thalweg(script, "sweep", table, "--target", "y", "--grid", axis, "--metric", metric)

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


WRONG: list[tuple[list[str], str]] = [
    (["get", "what"], "is no id"),
    (["get", "fit_../../metrics"], "is no id"),
    (["watch", "ds_1"], "is a dataset"),
    (["cancel", "ds_1"], "is a dataset"),
    (["get", FIT_ID, "--url", "127.0.0.1:8000"], "--url 127.0.0.1:8000: an address is wanted"),
    (["get", FIT_ID, "--url", "ftp://there"], "--url ftp://there"),
    (["get", FIT_ID, "--url", "http://"], "--url http://"),
    (["get", FIT_ID, "--url", "http://there:port"], "--url http://there:port"),
    (["get", FIT_ID, "--key", "schlüssel"], "--key"),
    (["get", FIT_ID, "--key", "two\nlines"], "--key"),
    (["get", FIT_ID, "--retry-seconds", "-1"], "--retry-seconds"),
    (["list", "pictures"], "pictures"),
    (["list", "--limit", "0"], "--limit"),
    (["upload", "none.csv"], "none.csv: No such file"),
    (["upload", "none.doc"], "the suffix must be one of"),
    (["fit", "DATA"], "--target"),
    (["fit", "DATA", "--target", ""], "--target"),
    (["fit", "DATA", "--target", "y", "--lr", "nan"], "--lr nan"),
    (["fit", "DATA", "--target", "y", "--lr", "fast"], "--lr"),
    (["fit", "DATA", "--target", "y", "--validation", "inf"], "--validation inf"),
    (["fit", "DATA", "--target", "y", "--epochs", "0"], "--epochs"),
    (["fit", "DATA", "--target", "y", "--hidden", "16,a"], "--hidden 16,a"),
    (["fit", "DATA", "--target", "y", "--features", "x,"], "--features x,"),
    (["fit", "DATA", "--target", "y", "--set", "steps"], "--set steps"),
    (["fit", ".", "--target", "y"], "the suffix must be one of"),
    (["fit", "no\0file.csv", "--target", "y"], "null byte"),
    (["sweep", "DATA", "--target", "y"], "one of the two"),
    (["sweep", "DATA", "--target", "y", "--grid", "seed=1", "--random", "seed=1"], "of the two"),
    (["sweep", "DATA", "--target", "y", "--grid", "seed=1", "-n", "5"], "-n and --seed"),
    (["sweep", "DATA", "--target", "y", "--grid", "seed=1", "--seed", "5"], "-n and --seed"),
    (["sweep", "DATA", "--target", "y", "--grid", "model.hidden=[4"], "is no JSON"),
    (["sweep", "DATA", "--target", "y", "--random", "lr=gauss:1:2"], "there is no 'gauss'"),
]


@pytest.mark.parametrize(("arguments", "why"), WRONG)
def test_a_wrong_command_sends_nothing(table: str, arguments: list[str], why: str) -> None:
    with scripted() as script:
        result = thalweg(script, *(table if one == "DATA" else one for one in arguments))

    assert result.exit_code == Exit.WRONG_USAGE, result.output
    assert why in result.stderr
    assert (result.stdout, script.requests) == ("", [])


def test_a_refusal_says_what_to_mend(table: str) -> None:
    places = [{"pointer": "/target", "detail": "the dataset has no column 'z'"}]
    refusal = problem(422, "invalid_input", "the dataset has no column 'z'", errors=places)
    answers = {"POST /v1/datasets": said(DATASET, 201), "POST /v1/fits": refusal}
    with scripted(**answers, **{"GET /v1/fits": problem(401, "unauthorized", "no key")}) as script:
        refused = thalweg(script, "fit", table, "--target", "z")
        unknown = thalweg(script, "list", "--key", "wrong\n")

    assert (refused.exit_code, refused.stdout) == (Exit.REFUSED, "")
    assert refused.stderr == "thalweg: /target: the dataset has no column 'z'\n"
    assert script.requests[-1].headers["Authorization"] == "Bearer wrong"
    assert unknown.exit_code == Exit.REFUSED
    assert unknown.stderr == "thalweg: no key\nthalweg: give the key in THALWEG_KEY, or by --key\n"


def test_what_a_fit_is_asked_for(table: str) -> None:
    answers = {
        "POST /v1/datasets": said(DATASET, 201),
        "POST /v1/fits": said(fit("succeeded"), 202),
    }
    with scripted(**answers) as script:
        result = thalweg(
            script, "fit", table, "--target", "y", "--hidden", "8,8", "--optimizer", "adam",
            "--seed", "3", "--set", "steps=5", "--set", "seed=4", "--detach",
        )  # fmt: skip

    assert (result.exit_code, result.stdout) == (Exit.DONE, f"{FIT_ID}\n")
    upload, post = script.requests
    assert upload.path == "/v1/datasets?name=data.csv"
    assert json.loads(post.body) == {
        "target": "y", "dataset": DATASET["id"], "model": {"kind": "mlp", "hidden": [8, 8]},
        "optimizer": {"kind": "adam"}, "seed": 4, "steps": 5,
    }  # fmt: skip


def test_a_file_may_be_named_like_a_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answers = {
        "POST /v1/datasets": said(DATASET, 201),
        "POST /v1/fits": said(fit("succeeded"), 202),
    }
    (tmp_path / "ds_mine.csv").write_text("x,y\n1,2\n")
    with scripted(**answers) as script:
        thalweg(script, "fit", "ds_mine.csv", "--target", "y", "--detach")
        thalweg(script, "fit", str(DATASET["id"]), "--target", "y", "--detach")

    paths = [request.path.partition("?")[0] for request in script.requests]
    assert paths == ["/v1/datasets", "/v1/fits", "/v1/fits"]


def test_a_cancel_whose_answer_was_lost_has_cancelled() -> None:
    conflict = problem(409, "conflict", "the fit has ended already")
    answers = {
        f"POST {FIT_PATH}/cancel": [problem(502, "bad", retry_after=0), conflict],
        f"GET {FIT_PATH}": [said(fit("cancelled")), said(fit("succeeded"))],
    }
    with scripted(**answers) as script:
        cancelled = thalweg(script, "cancel", FIT_ID, "--retry-seconds", "5")
        late = thalweg(script, "cancel", FIT_ID)

    assert (cancelled.exit_code, cancelled.stdout) == (Exit.DONE, f"{FIT_ID}: cancelled\n")
    assert (late.exit_code, late.stderr) == (Exit.REFUSED, "thalweg: the fit has ended already\n")


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

    assert FIT_ID in shown.stdout
    assert "there are more: raise --limit" in shown.stdout
    assert json.loads(whole.stdout) == found
    assert empty.stdout == "there are none\n"
    assert (deleted.exit_code, deleted.stdout) == (Exit.DONE, f"{FIT_ID}: deleted\n")
    assert [r.path for r in script.requests][:2] == ["/v1/fits?limit=1", "/v1/fits?limit=20"]


def process(script: Scripted, *arguments: str, **how: Any) -> "subprocess.Popen[str]":
    """Run a command against the script, in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "service.cli", *arguments],
        env=os.environ | {"THALWEG_URL": script.url},
        text=True,
        **how,
    )


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_ctrl_c_leaves_the_fit_and_says_so(form: list[str]) -> None:
    held = told((1, "status", {"status": "running"}), holds=True)
    answers: dict[str, Answer | list[Answer]] = {
        f"GET {FIT_PATH}": [said(fit("running")), Answer(body=b"{", holds=True)],
        f"GET {FIT_PATH}/events": held,
    }
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with scripted(**answers) as script, process(script, "watch", FIT_ID, *form, **pipes) as running:
        eventually(lambda: len(script.requests) == 2, 30)
        running.send_signal(signal.SIGINT)
        stdout, stderr = running.communicate(timeout=30)

    assert (running.returncode, stdout) == (Exit.INTERRUPTED, "")
    assert f"{FIT_ID} goes on: `thalweg watch {FIT_ID}` follows it" in stderr
    assert "Traceback" not in stderr


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


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_every_help_tells_the_codes_and_shows_how(command: list[str]) -> None:
    shown = thalweg(None, *command, "--help", COLUMNS="200").stdout

    for code, meaning in MEANINGS.items():
        assert re.search(rf"^ +{code.value}  {re.escape(meaning)} *$", shown, re.M), shown
    if command:
        assert f"thalweg {command[0]}" in shown.split("Examples:")[1]


def test_the_readmes_codes_and_commands_are_the_clients() -> None:
    section = readme.section("The command line")

    rows = re.findall(r"^\| (\d+) \| (.*) \|$", section, re.M)
    assert rows == [(str(code.value), meaning) for code, meaning in MEANINGS.items()]
    for command in COMMANDS:
        assert f"`{command}`" in section or f"`thalweg {command}" in section, command


def test_the_version_is_told() -> None:
    assert re.fullmatch(r"thalweg \d+\.\d+\.\d+\n", thalweg(None, "--version").stdout)
