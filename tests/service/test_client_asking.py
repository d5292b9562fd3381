"""What the client sends for a command, and what it refuses to send."""

import json
from pathlib import Path

import pytest

from service.client.exits import Exit
from tests.service.commands import (
    DATASET,
    FIT_ID,
    FIT_PATH,
    fit,
    thalweg,
)
from tests.service.scripted import problem, said, scripted

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
def test_a_wrong_command_sends_nothing(csv_file: str, arguments: list[str], why: str) -> None:
    with scripted() as script:
        result = thalweg(script, *(csv_file if one == "DATA" else one for one in arguments))

    assert result.exit_code == Exit.WRONG_USAGE, result.output
    assert why in result.stderr
    assert (result.stdout, script.requests) == ("", [])


def test_a_refusal_says_what_to_mend(csv_file: str) -> None:
    places = [{"pointer": "/target", "detail": "the dataset has no column 'z'"}]
    refusal = problem(422, "invalid_input", "the dataset has no column 'z'", errors=places)
    answers = {"POST /v1/datasets": said(DATASET, 201), "POST /v1/fits": refusal}
    with scripted(**answers, **{"GET /v1/fits": problem(401, "unauthorized", "no key")}) as script:
        refused = thalweg(script, "fit", csv_file, "--target", "z")
        unknown = thalweg(script, "list", "--key", "wrong\n")

    assert (refused.exit_code, refused.stdout) == (Exit.REFUSED, "")
    assert refused.stderr == "thalweg: /target: the dataset has no column 'z'\n"
    assert script.requests[-1].headers["Authorization"] == "Bearer wrong"
    assert unknown.exit_code == Exit.REFUSED
    assert unknown.stderr == "thalweg: no key\nthalweg: give the key in THALWEG_KEY, or by --key\n"


def test_what_a_fit_is_asked_for(csv_file: str) -> None:
    answers = {
        "POST /v1/datasets": said(DATASET, 201),
        "POST /v1/fits": said(fit("succeeded"), 202),
    }
    with scripted(**answers) as script:
        result = thalweg(
            script, "fit", csv_file, "--target", "y", "--hidden", "8,8", "--optimizer", "adam",
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
