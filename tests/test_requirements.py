"""What is installed is what was tested, by its hash."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
VERSION = re.compile(r"^([\w.-]+)==([^\s;]+)", re.M)


def versions(name: str) -> dict[str, str]:
    found = VERSION.findall((ROOT / name).read_text())
    return {re.sub(r"[-_.]+", "-", package).lower(): version for package, version in found}


def test_every_version_but_torchs_has_its_hashes() -> None:
    # torch's files differ by machine: a CPU's are on an index of their own.
    pinned = versions("constraints.txt")
    assert pinned.pop("torch")

    locked = (ROOT / "requirements.txt").read_text()

    assert versions("requirements.txt") == pinned
    entries = re.split(r"\n(?=\w)", locked)[1:]
    assert len(entries) == len(pinned)
    for entry in entries:
        assert "--hash=sha256:" in entry, entry.splitlines()[0]


def test_the_environment_is_made_of_them_alone() -> None:
    rule = re.search(r"^\.venv/\.ready:.*?\n\n", (ROOT / "Makefile").read_text(), re.M | re.S)
    assert rule is not None
    installs = [line for line in rule[0].splitlines() if "pip install" in line]

    unchecked = [line for line in installs if "--require-hashes" not in line]

    assert len(unchecked) == 2
    assert "^torch==" in unchecked[0]
    assert "--no-deps --no-build-isolation" in unchecked[1]


def test_so_is_the_documents_linter() -> None:
    redocly = ROOT / "tests" / "redocly"
    node = (redocly / "requirements.txt").read_text()
    asked = json.loads((redocly / "package.json").read_text())["dependencies"]
    locked = json.loads((redocly / "package-lock.json").read_text())["packages"]
    del locked[""]

    assert len(VERSION.findall(node)) == 1
    assert "--hash=sha256:" in node
    assert {name.removeprefix("node_modules/"): one["version"] for name, one in locked.items()} == (
        asked
    )
    # Whichever registry a machine asks, it gets the same.
    assert all(one["integrity"] and "resolved" not in one for one in locked.values())


def test_what_is_checked_for_a_change_is_checked_by_all() -> None:
    run = (ROOT / ".ci" / "run").read_text()

    assert all(f"\nmake {name}\n" in run for name in ("check", "test"))
