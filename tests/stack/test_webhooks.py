"""A service of little patience: streams that end early, and a receiver that never answers."""

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from standardwebhooks import Webhook

from tests.receiver import SECRET, Receiver
from tests.stack.conftest import SMALL, serving
from tests.stack.test_client import thalweg
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


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """A service that ends each stream long before a fit of a second or more has."""
    environment = SENDING | {"THALWEG_STREAM_SECONDS": "0.3"}
    with serving(tmp_path_factory.mktemp("data"), *SMALL, **environment) as made:
        yield made


@pytest.mark.stack
@pytest.mark.slow
def test_a_fit_that_outlasts_its_streams_is_followed_to_its_end(
    served: tuple[str, "subprocess.Popen[str]"], tmp_path: Path
) -> None:
    url, _ = served
    data = tmp_path / "data.csv"
    data.write_text("x,y\n" + "".join(f"{i},{2 * i + i % 3}\n" for i in range(60)))

    # when a client follows it that does not ask again where there is trouble
    result = thalweg(
        url, "fit", data, "--target", "y", "--steps", "8000", "--lr", "1e-4",
        "--set", "strategy=reference", "--retry-seconds", "0",
    )  # fmt: skip

    # then it is there at the end
    assert result.returncode == 0, result.stderr
    assert "8000/8000 steps" in result.stderr


@pytest.mark.stack
@pytest.mark.slow
def test_a_receiver_that_never_answers_holds_nothing_up(
    served: tuple[str, "subprocess.Popen[str]"],
) -> None:
    # given many messages to a server that takes connections and says nothing
    url, launcher = served
    with socket.create_server(("127.0.0.1", 0), backlog=200) as silent:
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
