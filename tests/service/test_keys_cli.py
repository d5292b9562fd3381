"""`thalweg keys`: what it prints, and what it never prints."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests import readme
from tests.service.test_launcher_cli import thalweg


def made(data_dir: Path, *more: str) -> dict[str, Any]:
    arguments = ("--owner", "ada", "--scopes", "read,write", "--data-dir", str(data_dir), *more)
    result = thalweg("keys", "create", *arguments, "--json")
    assert result.returncode == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_a_key_is_shown_once_with_its_id_and_webhook_secret(tmp_path: Path) -> None:
    key = made(tmp_path, "--limit", "max_steps=100", "--limit", "rate_limit=5/second")

    listed = thalweg("keys", "list", "--data-dir", str(tmp_path))

    assert key["key"].startswith("thalweg_")
    assert key["webhook_secret"].startswith("whsec_")
    assert key["limits"] == {"max_steps": 100, "rate_limit": "5/second"}
    limits = "rate_limit=5/second,max_steps=100"
    assert listed.stdout == f"{key['id']}  ada  read,write  holds  {limits}\n"
    both = thalweg("keys", "list", "--data-dir", str(tmp_path), "--json").stdout
    assert key["key"] not in both
    assert key["webhook_secret"] not in both


def test_it_prints_lines_for_people(tmp_path: Path) -> None:
    arguments = ("--owner", "ada", "--scopes", "read", "--data-dir", str(tmp_path))
    lines = thalweg("keys", "create", *arguments).stdout.splitlines()

    names = [line.partition(":")[0] for line in lines]
    assert names == ["id", "owner", "scopes", "created_at", "key", "webhook_secret"]
    limited = thalweg("keys", "create", *arguments, "--limit", "max_steps=100").stdout
    assert "limits: max_steps=100\n" in limited


def test_a_revoked_key_is_listed_as_such(tmp_path: Path) -> None:
    key = made(tmp_path)

    revoked = thalweg("keys", "revoke", key["id"], "--data-dir", str(tmp_path))

    assert (revoked.returncode, revoked.stdout) == (0, f"{key['id']}: revoked\n")
    assert "revoked" in thalweg("keys", "list", "--data-dir", str(tmp_path)).stdout
    again = thalweg("keys", "revoke", key["id"], "--data-dir", str(tmp_path))
    assert again.returncode == 1
    assert "no key" in again.stderr


def test_the_readmes_commands_work_as_pasted(tmp_path: Path) -> None:
    create, look, revoke = readme.code("Keys and limits", "sh").splitlines()
    python = Path(sys.executable).parent
    environment = os.environ | {
        "THALWEG_DATA_DIR": str(tmp_path / "data"), "PATH": f"{python}:{os.environ['PATH']}",
    }  # fmt: skip

    def shell(command: str) -> str:
        return subprocess.run(
            ["bash", "-eu", "-c", command],
            env=environment, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip

    key_id = re.findall("^id: (key_.*)$", shell(create), re.M)[0]
    assert shell(look) == f"{key_id}  ada  read,write  holds\n"
    assert shell(re.sub(r"key_\w+", key_id, revoke)) == f"{key_id}: revoked\n"


def test_a_directory_that_no_service_has_used_is_told_and_left_alone(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"

    for command in (["list"], ["revoke", "key_1"]):
        result = thalweg("keys", *command, "--data-dir", str(elsewhere))

        assert result.returncode == 1
        assert result.stderr == f"thalweg: no service has kept anything in {elsewhere}\n"
        assert not elsewhere.exists()


def test_wrong_scopes_and_limits_are_refused(tmp_path: Path) -> None:
    for wrong in (["--scopes", "all"], ["--scopes", "read", "--limit", "max_fits=1"]):
        result = thalweg("keys", "create", "--owner", "a", *wrong, "--data-dir", str(tmp_path))
        assert result.returncode == 1
        assert result.stderr.startswith("thalweg: ")


def test_with_a_key_other_addresses_may_be_served(tmp_path: Path) -> None:
    # given a key, a service no longer refuses an address for being no loopback one
    made(tmp_path)

    result = thalweg("serve", "--host", "192.0.2.1", "--data-dir", str(tmp_path))

    assert "no key" not in result.stderr
    assert "Cannot assign requested address" in result.stderr
