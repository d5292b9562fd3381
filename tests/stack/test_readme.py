"""The README's sessions with curl, as they are pasted."""

import os
import subprocess
import sys
from pathlib import Path

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


def test_the_range_test_works_as_pasted(service_url: str, tmp_path: Path) -> None:
    commands = readme.code("Learning-rate range tests", "sh")

    printed = run(f"THALWEG={service_url}\n{commands}", service_url, tmp_path)

    assert '"suggestion":{"steepest":0.0756' in printed
    assert '"valley":0.0298' in printed
    assert (tmp_path / "lr.png").read_bytes().startswith(b"\x89PNG")
