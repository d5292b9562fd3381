"""The real service, as `thalweg serve` starts it: once for all of these tests."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import coverage
import httpx
import pytest

from tests.stack.given import TRAINING
from tests.stack.notebook import NOTEBOOK

READY = "Thalweg serves on "
# Each worker's process takes seconds to start: a service for one test has fewer of them.
SMALL = ("--workers", "1")
ROOT = Path(__file__).parents[2]


@contextmanager
def serving(
    data_dir: Path, *options: str, **environment: str
) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """A service on a free port: its URL and the launcher's process, stopped at the end."""
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "service.cli", "serve", "--port", "0"),
            *("--data-dir", str(data_dir), *options),
        ],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    ) as process:
        try:
            yield _url(process), process
        finally:
            process.terminate()
            ended = process.wait(45)
    assert ended == 0


def _url(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(READY):
            return line.removeprefix(READY).strip()
    raise AssertionError(f"the service did not start: exit code {process.wait(10)}")


def counted() -> dict[str, str]:
    """Makes the processes' lines count in the coverage that is being measured, if one is."""
    if coverage.Coverage.current() is None:
        return {}
    return {
        "COVERAGE_PROCESS_START": str(ROOT / "pyproject.toml"),
        "COVERAGE_FILE": str(ROOT / ".coverage"),
    }


@pytest.fixture(scope="session")
def service_url() -> Iterator[str]:
    """The address of a service that all of these tests share."""
    with (
        tempfile.TemporaryDirectory(prefix="thalweg-") as directory,
        serving(Path(directory), **counted()) as (url, _),
    ):
        yield url


@pytest.fixture(scope="session")
def client(service_url: str) -> Iterator[httpx.Client]:
    """An HTTP client of the shared service."""
    with httpx.Client(base_url=service_url, timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def training(client: httpx.Client) -> str:
    """The id of a dataset of every kind of column."""
    answer = client.post("/v1/datasets", json={"columns": TRAINING})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


@pytest.fixture(scope="session")
def notebook(client: httpx.Client) -> str:
    """The id of the course notebook's dataset."""
    x = [row[1] for row in NOTEBOOK["x"]]
    answer = client.post("/v1/datasets", json={"columns": {"x": x, "y": NOTEBOOK["y"]}})
    assert answer.status_code == 201
    return str(answer.json()["id"])
