"""Every operation of the document, with good and bad requests, on the real service."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

CONFIGURATION = Path(__file__).parent.parent / "schemathesis.toml"


@pytest.mark.slow
def test_no_request_that_can_be_drawn_breaks_the_contract(service_url: str, tmp_path: Path) -> None:
    run = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIGURATION), "run"),
            *(f"{service_url}/openapi.json", "--continue-on-failure", "--max-examples", "50"),
            *("--phases", "examples,coverage,fuzzing,stateful", "--seed", "1"),
        ],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(CONFIGURATION.parent.parent)},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )

    paths = httpx.get(f"{service_url}/openapi.json").json()["paths"]
    n_operations = sum(len(operations) for operations in paths.values())
    assert run.returncode == 0, run.stdout
    assert f"Tested: {n_operations}" in run.stdout
