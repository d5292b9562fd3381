"""A job followed to its end: the exit code, the bar, lost services, Ctrl-C."""

import json
import signal
import subprocess
from typing import Any

import pytest

from service.client.exits import Exit
from tests.eventually import eventually
from tests.service.commands import (
    BATCH_ID,
    BATCH_PATH,
    FIT_ID,
    FIT_PATH,
    batch,
    end,
    fit,
    following,
    process,
    results,
    thalweg,
)
from tests.service.scripted import Answer, problem, said, scripted, told


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


def test_where_the_stream_only_says_when_to_come_again_the_fit_is_looked_up() -> None:
    answers: dict[str, Answer | list[Answer]] = {
        f"GET {FIT_PATH}": [said(fit("running")), said(fit("running")), said(fit("succeeded"))],
        f"GET {FIT_PATH}/events": told(),
    }
    with scripted(**answers) as script:
        watched = thalweg(script, "watch", FIT_ID)

    assert watched.exit_code == Exit.DONE
    assert "10/10 steps" in watched.stderr
    assert len([1 for request in script.requests if request.path.endswith("/events")]) == 2


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
