"""What happens to fits when processes end: nothing is lost, nothing is changed."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from service.settings import Settings
from tests.stack.conftest import serving

# About four seconds of the plain loop.
SLOW = {"steps": 20_000, "strategy": "reference", "dtype": "float64"}
COLUMNS = {"x": [1.0, 2.0, 3.0, 4.0], "y": [2.0, 3.0, 5.0, 4.0]}


def post(url: str, **changes: Any) -> dict[str, Any]:
    body = {"dataset": {"columns": COLUMNS}, "target": "y"} | SLOW | changes
    answer = httpx.post(f"{url}/v1/fits", json=body)
    assert answer.status_code == 202, answer.text
    fit: dict[str, Any] = answer.json()
    return fit


def get(url: str, fit: dict[str, Any], prefer: str = "wait=0") -> dict[str, Any]:
    answer = httpx.get(f"{url}/v1/fits/{fit['id']}", headers={"Prefer": prefer}, timeout=90)
    body: dict[str, Any] = answer.json()
    return body


def until_running(url: str, fit: dict[str, Any]) -> None:
    deadline = time.monotonic() + 30
    while get(url, fit)["status"] == "queued":
        assert time.monotonic() < deadline
        time.sleep(0.05)


def until_ended(url: str, fit: dict[str, Any]) -> dict[str, Any]:
    deadline = time.monotonic() + 120
    while (shown := get(url, fit, "wait=30"))["status"] in ("queued", "running"):
        assert time.monotonic() < deadline
    return shown


def computing_processes(launcher_pid: int) -> list[int]:
    """The worker's pool children: the processes below the launcher that loaded torch."""
    pids = [int(entry.name) for entry in Path("/proc").glob("[0-9]*")]
    below = [pid for pid in pids if launcher_pid in ancestors(pid)]
    return [pid for pid in below if "libtorch" in Path(f"/proc/{pid}/maps").read_text()]


def ancestors(pid: int) -> list[int]:
    """The parent, its parent, and so on; none where the process has ended meanwhile."""
    above = []
    while pid > 1:
        status = Path(f"/proc/{pid}/stat")
        if not status.exists():
            break
        pid = int(status.read_text().rpartition(")")[2].split()[1])
        above.append(pid)
    return above


@pytest.mark.stack
@pytest.mark.slow
def test_a_fit_survives_a_stop_a_killed_worker_and_an_emptied_redis(tmp_path: Path) -> None:
    short = {"THALWEG_LEASE_SECONDS": "2", "THALWEG_SWEEP_SECONDS": "0.5"}
    with serving(tmp_path, **short) as (url, launcher):
        undisturbed = until_ended(url, post(url))

        killed = post(url)
        until_running(url, killed)
        for pid in computing_processes(launcher.pid):
            os.kill(pid, signal.SIGKILL)
        after_kill = until_ended(url, killed)

        flushed = post(url)
        with redis.Redis.from_url(Settings(data_dir=tmp_path).redis_address) as client:
            client.flushall()
        after_flush = until_ended(url, flushed)

        stopped = post(url)
        until_running(url, stopped)

    with serving(tmp_path, **short) as (url, _):
        after_stop = until_ended(url, stopped)

    assert [after_kill["attempt"], after_flush["attempt"], after_stop["attempt"]] == [2, 1, 1]
    for fit in (undisturbed, after_kill, after_flush, after_stop):
        assert fit["status"] == "succeeded"
        assert fit["weights"] == undisturbed["weights"]
        assert fit["loss_history"] == undisturbed["loss_history"]
        assert fit["final_loss"] == undisturbed["final_loss"]
