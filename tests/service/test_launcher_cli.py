"""The command line: exit codes, and reasons that a person can act on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.cli import app
from service.launcher import worker_command


def thalweg(*arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "service.cli", *arguments],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_migrate_makes_the_database(tmp_path: Path) -> None:
    assert thalweg("migrate", "--data-dir", str(tmp_path)).returncode == 0
    assert (tmp_path / "thalweg.db").stat().st_size > 0


def test_a_refusal_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    result = thalweg("serve", "--host", "192.0.2.1", "--data-dir", str(tmp_path))
    assert result.returncode == 1
    assert result.stderr.startswith("thalweg: cannot serve on 192.0.2.1: no key configured")
    assert len(result.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_bad_variable_is_named() -> None:
    result = thalweg("migrate", THALWEG_MAX_STEPS="many")
    assert result.returncode == 1
    assert result.stderr.startswith("thalweg: THALWEG_MAX_STEPS: ")


def test_wrong_usage_is_exit_code_2() -> None:
    assert thalweg("serve", "--port", "65536").returncode == 2


def test_worker_becomes_celery(monkeypatch: pytest.MonkeyPatch) -> None:
    executed: list[tuple[str, ...]] = []
    monkeypatch.setattr(os, "execv", lambda _path, command: executed.append(command))
    result = CliRunner().invoke(app, ["worker", "--queues", "plots", "--concurrency", "3"])
    assert result.exit_code == 0
    assert executed == [worker_command("plots", 3)]
    assert executed[0][:3] == (sys.executable, "-m", "celery")
