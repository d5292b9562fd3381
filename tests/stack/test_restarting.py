"""What is going on outlives an emptied redis, killed workers, and a restart of the service."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from service.settings import Settings
from tests.receiver import Receiver, receiving
from tests.stack.conftest import serving
from tests.stack.given import LONG
from tests.stack.processes import computing_processes
from tests.stack.test_events import SLOW, listed, post, stream
from tests.stack.test_lr_range_tests import SLOW as SLOW_RANGE
from tests.stack.test_lr_range_tests import URL as RANGE_TESTS
from tests.stack.test_lr_range_tests import WAIT, body, range_test, until_running
from tests.stack.test_webhooks import SENDING, told, until
from tests.stack.test_webhooks import post as post_hooked

QUICK = SENDING | {"THALWEG_LEASE_SECONDS": "2"}


@pytest.mark.stack
@pytest.mark.slow
def test_what_goes_on_outlives_an_emptied_redis_a_killed_worker_and_a_restart(
    tmp_path: Path,
) -> None:
    with receiving() as receiver:
        # given messages, streams and range tests
        with (
            serving(tmp_path, **QUICK) as (url, launcher),
            httpx.Client(base_url=url, timeout=60) as client,
        ):
            messages_arrive(url, receiver)
            redis_is_emptied(client, tmp_path)
            worker_is_killed(client, launcher.pid)
            late = one_is_refused(url, receiver)
            followed = post(client, **LONG)
            following = stream(client, followed["urls"]["events"])
            known = [next(following) for _ in range(3)]
            tested = client.post(RANGE_TESTS, json=body(**SLOW_RANGE)).json()
            until_running(client, tested)

            # when the service is stopped, streams are closed, not cut off
            began = time.monotonic()
            launcher.send_signal(signal.SIGTERM)
            known += following
            assert time.monotonic() - began < 8
            assert known[-1]["type"] != "end"

        # then all goes on where it was, once it is started again
        with (
            serving(tmp_path, **QUICK) as (url, _),
            httpx.Client(base_url=url, timeout=60) as client,
        ):
            the_stream_goes_on(client, followed, known)
            the_range_test_goes_on(client, tested)
            the_message_comes_again(late, receiver)


def messages_arrive(url: str, receiver: Receiver) -> None:
    fits = [post_hooked(url, receiver.url) for _ in range(30)]
    until(lambda: len(receiver.got) == 30)
    assert sorted(told(receiver)) == [(fit_id, "fit.succeeded") for fit_id in sorted(fits)]


def one_is_refused(url: str, receiver: Receiver) -> str:
    receiver.answers = [500]
    late = post_hooked(url, receiver.url)
    until(lambda: len(receiver.got) == 31)
    return late


def the_message_comes_again(late: str, receiver: Receiver) -> None:
    """Under its id."""
    until(lambda: len(receiver.got) == 32)
    assert told(receiver)[30:] == [(late, "fit.succeeded")] * 2
    first, second = (headers["webhook-id"] for headers, _ in receiver.got[30:])
    assert first == second


def the_stream_goes_on(
    client: httpx.Client, followed: dict[str, Any], known: list[dict[str, Any]]
) -> None:
    """After the last event that its reader has."""
    client.post(httpx.URL(followed["urls"]["cancel"]).path)
    events = httpx.URL(followed["urls"]["events"]).path
    rest = list(stream(client, events, known[-1]["id"]))
    assert rest[-1]["data"]["status"] == "cancelled"
    ids = [one["id"] for one in known + rest]
    assert ids == sorted(set(ids))


def the_range_test_goes_on(client: httpx.Client, tested: dict[str, Any]) -> None:
    """With the bits of one that was never stopped."""
    ended = client.get(f"{RANGE_TESTS}/{tested['id']}", headers=WAIT).json()
    undisturbed = range_test(client, **SLOW_RANGE)
    assert (ended["status"], ended["attempt"]) == ("succeeded", 1)
    assert ended["result"] == undisturbed["result"]
    assert len(ended["result"]["lr"]) == SLOW_RANGE["num_iter"]


def redis_is_emptied(client: httpx.Client, data_dir: Path) -> None:
    """It ends no stream, and costs a late client no event but those told before."""
    fit = post(client, **SLOW)
    following = stream(client, fit["urls"]["events"])
    told = [next(following) for _ in range(3)]
    flush(data_dir)
    told += following
    late = listed(client, fit["urls"]["events"])
    flush(data_dir)
    bare = list(stream(client, fit["urls"]["events"]))

    assert [one["type"] for one in bare] == ["status", "status", "end"]
    assert bare == [*told[:2], told[-1]]
    assert told[-1]["data"]["status"] == "succeeded"
    ids = [one["id"] for one in told]
    assert ids == sorted(set(ids))
    assert len(late) > len(bare)
    assert late[:2] + told[2 : len(told) - len(late) + 2] + late[2:] == told


def worker_is_killed(client: httpx.Client, launcher_pid: int) -> None:
    """The fit says that it waits, and that it runs again."""
    fit = post(client, **SLOW)
    following = stream(client, fit["urls"]["events"])
    while next(following)["type"] != "progress":
        pass
    for pid in computing_processes(launcher_pid):
        os.kill(pid, signal.SIGKILL)
    rest = list(following)

    told = [one["data"]["status"] for one in rest if one["type"] == "status"]
    assert told == ["queued", "running"]
    assert rest[-1]["data"]["status"] == "succeeded"


def flush(data_dir: Path) -> None:
    with redis.Redis.from_url(Settings(data_dir=data_dir).redis_address) as client:
        client.flushall()
