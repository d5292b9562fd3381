"""Webhooks on the real service: a receiver that never answers."""

import socket
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from standardwebhooks import Webhook

from tests.receiver import SECRET, Receiver
from tests.stack.conftest import SMALL, serving
from tests.stack.test_events import COLUMNS

SENDING = {
    "THALWEG_WEBHOOK_SECRET": SECRET,
    "THALWEG_WEBHOOK_ALLOW_PRIVATE": "true",
    "THALWEG_SWEEP_SECONDS": "0.5",
}


def told(receiver: Receiver) -> list[tuple[str, str]]:
    """The fit and the message's type of whatever was received, each verified."""
    read = [Webhook(SECRET).verify(body, headers) for headers, body in receiver.got]
    return [(one["data"]["id"], one["type"]) for one in read]


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def post(url: str, hook: str, **changes: object) -> str:
    body = {"dataset": {"columns": COLUMNS}, "target": "y", "steps": 5, "webhook": {"url": hook}}
    answer = httpx.post(f"{url}/v1/fits", json=body | changes)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


@pytest.mark.stack
@pytest.mark.slow
def test_a_receiver_that_never_answers_holds_nothing_up(tmp_path: Path) -> None:
    # given many messages to a server that takes connections and says nothing
    with (
        socket.create_server(("127.0.0.1", 0), backlog=200) as silent,
        serving(tmp_path, *SMALL, **SENDING) as (url, launcher),
    ):
        hook = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        for _ in range(20):
            post(url, hook)
        time.sleep(2)

        # when others want something of the same worker, and then the service is stopped
        began = time.monotonic()
        body = {"dataset": {"columns": COLUMNS}, "target": "y", "weights": {
            "weight": [[1.0]], "bias": [0.0],
        }}  # fmt: skip
        answer = httpx.post(f"{url}/v1/gradients", json=body, timeout=30)
        answered_seconds = time.monotonic() - began
        began = time.monotonic()
        launcher.terminate()
        assert launcher.wait(40) == 0
        stopped_seconds = time.monotonic() - began

    assert answer.status_code == 200
    assert answered_seconds < 8
    assert stopped_seconds < 30
