"""What a process logs, read as whoever collects logs reads it."""

import io
import json
import re
from typing import Any

import pytest

from service.settings import Settings
from service.telemetry import configure_logging


def written_log(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What is logged from now on, until the test ends."""
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    configure_logging(settings)
    return stream


def events_in(written: io.StringIO) -> list[dict[str, Any]]:
    """The log's events; nothing of it moves a terminal's cursor."""
    assert re.fullmatch(r"([ -~]+\n)*", written.getvalue())
    return [json.loads(line) for line in written.getvalue().splitlines()]
