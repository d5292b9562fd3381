"""Every operation of the document, with good and bad requests, on the real service."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.stack.conftest import SMALL, serving

CONFIGURATION = Path(__file__).parent.parent / "schemathesis.toml"


@pytest.mark.slow
def test_no_request_that_can_be_drawn_breaks_the_contract(tmp_path: Path) -> None:
    # On a service of its own: what it finds it deletes.
    with serving(tmp_path / "data", *SMALL) as (service_url, _):
        run = _schemathesis(service_url, tmp_path)
        paths = httpx.get(f"{service_url}/openapi.json").json()["paths"]

    n_operations = sum(len(operations) for operations in paths.values())
    assert run.returncode == 0, run.stdout
    assert f"Tested: {n_operations}" in run.stdout


def _schemathesis(service_url: str, directory: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIGURATION), "run"),
            *(f"{service_url}/openapi.json", "--continue-on-failure", "--max-examples", "10"),
            *("--phases", "examples,coverage,fuzzing,stateful", "--seed", "1"),
        ],
        cwd=directory,
        env=os.environ | {"PYTHONPATH": str(CONFIGURATION.parent.parent)},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
