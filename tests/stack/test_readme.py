"""The README's session with curl, as it is pasted."""

import subprocess
from pathlib import Path

from tests import readme


def test_the_session_with_curl_works_as_pasted(service_url: str, tmp_path: Path) -> None:
    session = readme.code("A session with curl", "sh")
    assert "THALWEG=http://127.0.0.1:8000\n" in session

    shell = subprocess.run(
        ["bash", "-eu", "-c", session.replace("http://127.0.0.1:8000", service_url)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert shell.returncode == 0, shell.stderr
    assert '"coefficients":{"intercept":3.0599' in shell.stdout
    assert '"x":1.9399' in shell.stdout
    assert "step,epoch,loss,lr,grad_norm\n0,0," in shell.stdout
    assert '"pointer":"/optimizer/learning_rate"' in shell.stdout
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "fit.svg").read_text().startswith("<?xml")
