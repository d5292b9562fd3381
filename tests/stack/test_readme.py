"""The README's commands with curl, as they are pasted."""

import subprocess
from pathlib import Path

from tests import readme


def pasted(commands: str, directory: Path) -> str:
    """What the commands print."""
    shell = subprocess.run(
        ["bash", "-eu", "-c", commands],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )
    assert shell.returncode == 0, shell.stderr
    return shell.stdout


def test_the_session_with_curl_works_as_pasted(service_url: str, tmp_path: Path) -> None:
    session = readme.code("A session with curl", "sh")
    assert "THALWEG=http://127.0.0.1:8000\n" in session

    printed = pasted(session.replace("http://127.0.0.1:8000", service_url), tmp_path)

    assert '"coefficients":{"intercept":3.0599' in printed
    assert '"x":1.9399' in printed
    assert "step,epoch,loss,lr,grad_norm\n0,0," in printed
    assert '"pointer":"/optimizer/learning_rate"' in printed
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "fit.svg").read_text().startswith("<?xml")


def test_the_range_test_works_as_pasted(service_url: str, tmp_path: Path) -> None:
    commands = readme.code("Learning-rate range tests", "sh")

    printed = pasted(f"THALWEG={service_url}\n{commands}", tmp_path)

    assert '"suggestion":{"steepest":0.0756' in printed
    assert '"valley":0.0298' in printed
    assert (tmp_path / "lr.png").read_bytes().startswith(b"\x89PNG")
