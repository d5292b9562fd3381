"""The README's sessions with curl, as they are pasted."""

import ast
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests import readme


def run(session: str, service_url: str, directory: Path) -> str:
    """What the shell prints of the session with this service."""
    python = Path(sys.executable).parent
    shell = subprocess.run(
        ["bash", "-eu", "-c", session.replace("http://127.0.0.1:8000", service_url)],
        cwd=directory,
        env=os.environ | {"PATH": f"{python}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert shell.returncode == 0, shell.stderr
    return shell.stdout


def test_the_session_with_curl_works_as_pasted(service_url: str, tmp_path: Path) -> None:
    session = readme.code("A session with curl", "sh")
    assert "THALWEG=http://127.0.0.1:8000\n" in session

    printed = run(session, service_url, tmp_path)

    assert '"coefficients":{"intercept":3.0599' in printed
    assert '"x":1.9399' in printed
    assert "step,epoch,loss,lr,grad_norm\n0,0," in printed
    assert '"pointer":"/optimizer/learning_rate"' in printed
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "fit.svg").read_text().startswith("<?xml")


def test_a_request_is_sent_again_as_pasted(service_url: str, tmp_path: Path) -> None:
    command = readme.code("Sending a request again", "sh")

    first, again = (
        run(f"THALWEG=http://127.0.0.1:8000\n{command}", service_url, tmp_path) for _ in range(2)
    )

    assert '"object":"fit"' in first
    assert again == first


def test_tables_are_uploaded_and_come_back_as_pasted(service_url: str, tmp_path: Path) -> None:
    session, commands = readme.code("A session with curl", "sh"), readme.code("Datasets", "sh")
    pq.write_table(pa.table({"x": [1.0, 2.0], "y": [3.0, 5.0]}), tmp_path / "data.parquet")
    (tmp_path / "data.csv").write_text("x,y\n1,3\n2,5\n3,7\n")

    printed = run(f"{session}\n{commands}", service_url, tmp_path)

    assert re.findall(r'"n_rows":(\d)', printed.split('"pointer"')[1]) == ["3", "2", "3"]
    assert pq.read_table(tmp_path / "data.parquet").column("y").to_pylist() == [
        1.1,
        2.2,
        2.9,
        4.1,
        5,
    ]


def test_a_fit_is_followed_as_pasted(service_url: str, tmp_path: Path) -> None:
    session, following = (
        readme.code(title, "sh") for title in ("A session with curl", "Following a fit")
    )

    printed = run("\n".join([session, following]), service_url, tmp_path)

    assert 'id: 1\nevent: status\ndata: {"status":"queued",' in printed
    assert (
        '"status":"succeeded","stop_reason":"completed"}\n\n{"object":"list","data":[{' in printed
    )


def test_what_comes_after_the_fit_works_as_pasted(service_url: str, tmp_path: Path) -> None:
    session = readme.code("A session with curl", "sh")
    after, gradients = readme.code("After the fit", "sh"), readme.code("Gradients", "sh")

    printed = run("\n".join([session, after, gradients]), service_url, tmp_path)

    for claimed in (
        '{"predictions":[1.1',
        '"prediction"\n1.1',
        '{"metrics":{"mse":',
        '{"weight": [[1.9399',
        '{"loss":0.005',
        '"gradients":{"weight":[[0.1',
    ):
        assert claimed in printed
    assert ",4.0299" in printed.split('{"predictions":[1.1')[1]


def answers_of(service_url: str) -> dict[str, Any]:
    """What a student hands in who has done the exercise right, by numpy alone."""
    script = ast.parse(readme.code("An autograder", "python"))
    (data,) = [
        node.value
        for node in script.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "DATA"
    ]
    given = {"generator": ast.literal_eval(data)}
    with httpx.Client(base_url=service_url, timeout=60) as client:
        dataset = client.post("/v1/datasets", json=given).json()["id"]
        accept = {"Accept": "application/json"}
        found = client.get(f"/v1/datasets/{dataset}/content", headers=accept)
    content = found.json()["columns"]
    x, y = np.array(content["x"]), np.array(content["y"])
    w0 = w1 = 0.0
    losses = []
    for _ in range(1000):
        error = w0 + w1 * x - y
        losses.append(float((error**2).mean()))
        w0, w1 = w0 - 0.05 * 2 * error.mean(), w1 - 0.05 * 2 * (error * x).mean()
    return {"losses": losses, "w0": w0, "w1": w1}


@pytest.mark.parametrize(
    ("mistake", "scores"),
    [
        (lambda right: right, [6, 2, 2]),
        (lambda right: right | {"w1": right["w1"] + 0.01}, [6, 2, 0]),
        (lambda right: right | {"losses": right["losses"][:-1]}, [0, 2, 2]),
        (lambda right: right | {"w0": None}, "/checks/1/expected"),
        (lambda right: right | {"losses": [math.nan]}, "JSON"),
        (lambda right: {"losses": right["losses"], "w0": right["w0"]}, "/checks/2/expected"),
    ],
)
def test_the_autograder_grades(
    service_url: str, tmp_path: Path, mistake: Callable[[Any], Any], scores: list[int] | str
) -> None:
    # given a student's answer
    (tmp_path / "autograder.py").write_text(readme.code("An autograder", "python"))
    (tmp_path / "answer.json").write_text(json.dumps(mistake(answers_of(service_url))))

    command = f"THALWEG={service_url} python autograder.py answer.json results.json"
    run(command, service_url, tmp_path)

    results = json.loads((tmp_path / "results.json").read_text())
    if isinstance(scores, str):
        assert results["score"] == 0
        assert scores in results["output"]
        return
    assert [test["score"] for test in results["tests"]] == scores
    assert results["score"] == sum(scores)


def test_the_batches_work_as_pasted(service_url: str, tmp_path: Path) -> None:
    session, commands = readme.code("A session with curl", "sh"), readme.code("Batches", "sh")

    printed = run(f"{session}\n{commands}", service_url, tmp_path)

    counted = '"counts":{"queued":0,"running":0,"succeeded":4,"failed":2,"cancelled":0}'
    assert counted in commands
    assert counted in printed
    assert printed.count("failed,diverged,diverged,10.0,") == 2
    assert '"n_fits":20,' in printed
    assert '"name":"lines",' in printed
    assert '"varied":["optimizer.kind",' in printed


def test_the_range_test_works_as_pasted(service_url: str, tmp_path: Path) -> None:
    commands = readme.code("Learning-rate range tests", "sh")

    printed = run(f"THALWEG={service_url}\n{commands}", service_url, tmp_path)

    assert '"suggestion":{"steepest":0.0756' in printed
    assert '"valley":0.0298' in printed
    assert (tmp_path / "lr.png").read_bytes().startswith(b"\x89PNG")
