"""Webhooks on the real service: delivered at once, and across a restart."""

import socket
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from standardwebhooks import Webhook

from tests.stack.conftest import SMALL, serving
from tests.stack.test_events import COLUMNS
from tests.workers.test_webhooks import SECRET, Receiver, receiving

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
def test_messages_arrive_and_outlive_a_restart(tmp_path: Path) -> None:
    with receiving() as receiver:
        # given a service that delivers, and a message that is refused at first
        with serving(tmp_path, *SMALL, **SENDING) as (url, _):
            fits = [post(url, receiver.url) for _ in range(30)]
            until(lambda: len(receiver.got) == 30)
            assert sorted(told(receiver)) == [(fit_id, "fit.succeeded") for fit_id in sorted(fits)]

            receiver.answers = [500]
            late = post(url, receiver.url)
            until(lambda: len(receiver.got) == 31)

        # when it is stopped and started again
        with serving(tmp_path, *SMALL, **SENDING):
            until(lambda: len(receiver.got) == 32)

    # then the message came again, under its id
    assert told(receiver)[30:] == [(late, "fit.succeeded")] * 2
    first, second = (headers["webhook-id"] for headers, _ in receiver.got[30:])
    assert first == second


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
