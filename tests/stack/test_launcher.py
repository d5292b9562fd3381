"""`thalweg serve` from outside: how it starts, what it survives and what it leaves."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from service.settings import Settings
from tests.eventually import eventually

pytestmark = [
    pytest.mark.stack,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]

READY = "Thalweg serves on "
SERVE = [sys.executable, "-m", "service.cli", "serve", "--port", "0", "--workers", "1"]
PARTS = {"redis": "redis-server", "worker": "workers.app", "API": "service.api.server"}


# A second or more of the plain loop, by which a worker computes again.
FIT = {
    "dataset": {"columns": {"x": [1.0, 2.0, 3.0], "y": [2.0, 3.0, 5.0]}},
    "target": "y", "steps": 8_000, "strategy": "reference",
}  # fmt: skip


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """A data directory of these tests' own, by which its processes are known, and a TMPDIR."""
    directory = tmp_path_factory.mktemp("launcher")
    (directory / "tmp").mkdir()
    return os.environ | {
        "THALWEG_DATA_DIR": str(directory / "data"),
        "TMPDIR": str(directory / "tmp"),
        "HOME": str(directory / "tmp"),
    }


@contextmanager
def launched(environment: Mapping[str, str]) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(SERVE, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


def url_of(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith(READY), f"exit code {process.wait(10)}"
    return line.removeprefix(READY).strip()


def processes(environment: Mapping[str, str]) -> dict[int, str]:
    """The command lines of every process whose data directory is the test's, by process id."""
    data_dir = environment["THALWEG_DATA_DIR"]
    mark = f"THALWEG_DATA_DIR={data_dir}".encode()
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            variables = (entry / "environ").read_bytes().split(b"\0")
            # Redis writes its title over its environment, but works in the data directory.
            if mark in variables or (entry / "cwd").readlink().is_relative_to(data_dir):
                found[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ")
        except OSError:
            # It ended meanwhile.
            continue
    return found


def main_process(environment: Mapping[str, str], mark: str, launcher: int) -> int:
    """The launcher's own child whose command line has the mark."""
    for pid, command in processes(environment).items():
        parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        if mark in command and parent == launcher:
            return pid
    raise LookupError(mark)


def assert_nothing_is_left(environment: Mapping[str, str]) -> None:
    assert processes(environment) == {}
    settings = Settings(data_dir=Path(environment["THALWEG_DATA_DIR"]))
    assert not settings.redis_socket.exists()
    assert sorted(path.name for path in settings.data_dir.iterdir()) in (
        ["redis", "thalweg.db"],
        ["objects", "redis", "thalweg.db"],
    )
    assert list(Path(environment["TMPDIR"]).iterdir()) == []


def test_a_stop_while_it_starts_leaves_nothing(environment: Mapping[str, str]) -> None:
    with launched(environment) as process:
        eventually(lambda: len(processes(environment)) > 3, 30)
        process.terminate()
        assert process.wait(30) == 0
        assert process.stdout is not None
        assert process.stdout.read() == ""
    assert processes(environment) == {}


def test_a_launcher_that_is_killed_while_it_starts_takes_everything_with_it(
    environment: Mapping[str, str],
) -> None:
    with launched(environment) as process:
        eventually(lambda: len(processes(environment)) > 5, 30)
        process.kill()
        process.wait(10)
        eventually(lambda: processes(environment) == {}, 30)


@pytest.fixture(scope="module")
def served(environment: Mapping[str, str]) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """A service on what the killed one left: its URL, and the launcher."""
    with launched(environment) as process:
        yield url_of(process), process


def test_it_serves_alone(
    environment: Mapping[str, str], served: tuple[str, "subprocess.Popen[str]"]
) -> None:
    url, process = served
    assert httpx.get(f"{url}/readyz", timeout=10).status_code == 200

    second = subprocess.run(
        SERVE, env=environment, capture_output=True, text=True, timeout=30, check=False
    )

    assert second.returncode == 1
    assert f"process {process.pid} serves" in second.stderr
    assert httpx.get(f"{url}/readyz", timeout=10).status_code == 200


def test_every_part_that_is_killed_comes_back(
    environment: Mapping[str, str], served: tuple[str, "subprocess.Popen[str]"]
) -> None:
    url, process = served
    before = {name: main_process(environment, PARTS[name], process.pid) for name in PARTS}
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)

    def all_are_back() -> bool:
        try:
            after = {n: main_process(environment, PARTS[n], process.pid) for n in PARTS}
        except (LookupError, FileNotFoundError):
            return False
        return all(after[name] != before[name] for name in PARTS)

    eventually(all_are_back, 30)
    # The port stayed ours: whoever asks meanwhile waits, and nobody is refused.
    eventually(lambda: httpx.get(f"{url}/readyz", timeout=30).status_code == 200, 30)
    wait = {"Prefer": "wait=60"}
    ended = httpx.post(f"{url}/v1/fits", json=FIT, headers=wait, timeout=70)
    assert ended.json()["status"] == "succeeded"


def test_an_interrupt_ends_it_and_leaves_nothing(
    environment: Mapping[str, str], served: tuple[str, "subprocess.Popen[str]"]
) -> None:
    _, process = served

    process.send_signal(signal.SIGINT)

    assert process.wait(30) == 0
    assert process.stdout is not None
    assert process.stdout.read() == ""
    assert_nothing_is_left(environment)


def test_a_stop_ends_it_and_leaves_nothing(environment: Mapping[str, str]) -> None:
    with launched(environment) as process:
        url_of(process)

        process.terminate()

        assert process.wait(30) == 0
        assert process.stdout is not None
        assert process.stdout.read() == ""
    assert_nothing_is_left(environment)
