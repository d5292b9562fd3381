"""The client's help, beside the README."""

import re

import pytest

from service.client.exits import MEANINGS
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


def test_the_readmes_codes_and_commands_are_the_clients() -> None:
    section = readme.section("The command line")

    rows = re.findall(r"^\| (\d+) \| (.*) \|$", section, re.M)
    assert rows == [(str(code.value), meaning) for code, meaning in MEANINGS.items()]
    for command in COMMANDS:
        assert f"`{command}`" in section or f"`thalweg {command}" in section, command


def test_the_version_is_told() -> None:
    assert re.fullmatch(r"thalweg \d+\.\d+\.\d+\n", thalweg(None, "--version").stdout)
