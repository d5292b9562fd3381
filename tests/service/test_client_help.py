"""The client's help, beside the README."""

import re

import pytest

from service.client.exits import MEANINGS, Exit
from tests import readme
from tests.service.commands import thalweg

COMMANDS = ("fit", "sweep", "get", "watch", "cancel", "delete", "list", "upload")


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_every_help_tells_the_codes_and_shows_how(command: list[str]) -> None:
    shown = thalweg(None, *command, "--help", COLUMNS="200").stdout

    for code, meaning in MEANINGS.items():
        assert re.search(rf"^ +{code.value}  {re.escape(meaning)} *$", shown, re.M), shown
    if command:
        assert f"thalweg {command[0]}" in shown.split("Examples:")[1]


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_can_be_copied_from_a_narrow_screen(command: str) -> None:
    def examples(columns: str) -> list[str]:
        shown = thalweg(None, command, "--help", COLUMNS=columns).stdout
        told = shown.split("Examples:")[1].split("Exit codes:")[0]
        return [line.strip() for line in told.splitlines() if line.strip()]

    assert examples("80") == examples("200")
    assert all(line.startswith(f"thalweg {command}") for line in examples("80"))


@pytest.mark.parametrize("command", ["get", "watch", "cancel", "delete"])
def test_an_id_is_told_with_those_that_a_command_takes(command: str) -> None:
    # given an id of each kind, and a service that has none of them
    shown = thalweg(None, command, "--help", COLUMNS="200").stdout

    for prefix in ("fit", "bat", "lrt", "ds"):
        asked = thalweg(None, command, f"{prefix}_1")
        assert (asked.exit_code == Exit.UNREACHABLE) == (f"{prefix}_…" in shown)


def test_the_help_parts_the_client_from_the_service() -> None:
    shown = thalweg(None, "--help", COLUMNS="200").stdout

    client, service = shown.split("─ Service ─")[0], shown.split("─ Service ─")[1]
    for command in COMMANDS:
        assert re.search(rf"^│ {command} ", client.split("─ Client ─")[1], re.M), command
    for command in ("serve", "worker", "migrate", "keys"):
        assert re.search(rf"^│ {command} ", service, re.M), command


def test_the_readmes_codes_and_commands_are_the_clients() -> None:
    section = readme.section("The command line")

    rows = re.findall(r"^\| (\d+) \| (.*) \|$", section, re.M)
    assert rows == [(str(code.value), meaning) for code, meaning in MEANINGS.items()]
    for command in COMMANDS:
        assert f"`{command}`" in section or f"`thalweg {command}" in section, command


def test_the_version_is_told() -> None:
    assert re.fullmatch(r"thalweg \d+\.\d+\.\d+\n", thalweg(None, "--version").stdout)
