"""SIGTERM and SIGHUP at any place: work goes back, waits are answered, no request is lost."""

import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.eventually import eventually
from tests.faults import verdict
from tests.faults.campaign import undisturbed
from tests.faults.conftest import Watched
from tests.faults.faults import FAULTS, Site
from tests.faults.jobs import ENDLESS, MEDIUM, SHORT
from tests.faults.processes import is_alive, signal_all
from tests.faults.running import Running
from tests.faults.test_leases import begun
from tests.faults.traffic import Client

pytestmark = [
    pytest.mark.stack,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]


def post_until(url: str, is_over: threading.Event, n_kept: int) -> list[str]:
    """Post short fits, none a second time; their ids. So many connections are kept between them."""
    ids = []
    limits = httpx.Limits(max_keepalive_connections=n_kept)
    with httpx.Client(base_url=url, timeout=30, limits=limits) as http:
        while not is_over.is_set():
            answer = http.post("/v1/fits", json=SHORT[0].body)
            assert answer.status_code == 202, answer.text
            ids.append(answer.json()["id"])
    return ids


@pytest.mark.parametrize("name", ["terminate an API worker", "restart the API workers"])
def test_a_rolling_restart_loses_no_request(
    name: str, site: Site, service: Running, client: Client
) -> None:
    # given clients that post all the time, and none of whom asks twice
    is_over = threading.Event()
    with ThreadPoolExecutor(4) as pool:
        posting = [pool.submit(post_until, client.url, is_over, n) for n in (0, 0, 1, 1)]
        time.sleep(0.5)

        # when the processes that answer are replaced
        before = service.pids("API worker")
        assert FAULTS[name][1](site)
        eventually(lambda: len(set(service.pids("API worker")) - {*before}) > 0, 30)
        time.sleep(2)
        is_over.set()
        posted = [fit_id for ids in posting for fit_id in ids.result()]

    # then every request was answered, and every fit ends
    assert len(posted) > 10
    for fit_id in posted[:: len(posted) // 10]:
        ended = httpx.get(
            f"{client.url}/v1/fits/{fit_id}", headers={"Prefer": "wait=30"}, timeout=40
        )
        assert ended.json()["status"] == "succeeded"


def test_a_process_that_is_terminated_alone_gives_its_fit_back_without_an_attempt(
    service: Running, client: Client, watched: Watched
) -> None:
    # given a fit at work, and the process that computes it
    accepted, pid = begun(service, client, MEDIUM[0])

    # when that process is asked to end, as by whoever stops all processes of a machine
    signal_all([pid], signal.SIGTERM)

    # then another one goes on, and the first one is gone
    accepted.shown = client.end(accepted, 60)
    assert accepted.shown["attempt"] == 1
    assert verdict.differences(client.url, [accepted], watched.expected) == []
    eventually(lambda: not is_alive(pid), 10)


def test_a_worker_that_is_stopped_gives_its_fit_back_without_an_attempt(
    service: Running, client: Client, watched: Watched
) -> None:
    accepted, _ = begun(service, client, MEDIUM[0])

    signal_all(service.pids("worker"), signal.SIGTERM)
    accepted.shown = client.end(accepted, 60)

    assert accepted.shown["attempt"] == 1
    assert verdict.differences(client.url, [accepted], watched.expected) == []


def test_waits_and_streams_end_cleanly_where_a_process_is_replaced(
    service: Running, client: Client
) -> None:
    # given a long fit that one client waits for and another one follows
    accepted, _ = begun(service, client, ENDLESS)
    with ThreadPoolExecutor(4) as pool:
        waits = [pool.submit(wait_for, accepted.body["urls"]["self"]) for _ in range(2)]
        streams = [pool.submit(follow, accepted.body["urls"]["events"]) for _ in range(2)]
        time.sleep(1)

        # when every process that answers is replaced
        signal_all(service.pids("API"), signal.SIGHUP)
        answers = [waiting.result(20) for waiting in waits]
        told = [stream.result(20) for stream in streams]

    # then the waits are answered early, and the streams are ended and not cut off
    assert [answer.status_code for answer in answers] == [200, 200]
    assert {answer.json()["status"] for answer in answers} == {"running"}
    assert all(text.endswith("\n\n") and "event: end" not in text for text in told)
    client.cancel(accepted)
    assert client.end(accepted, 30)["status"] == "cancelled"


def wait_for(url: str) -> httpx.Response:
    return httpx.get(url, headers={"Prefer": "wait=60"}, timeout=70)


def follow(url: str) -> str:
    """All that is told; raises httpx' error where the stream is cut off."""
    return httpx.get(url, headers={"Accept": "text/event-stream"}, timeout=70).text


def test_a_stop_gives_work_back_answers_waits_and_leaves_nothing(
    site: Site, service: Running, client: Client
) -> None:
    # given a fit at work, clients that wait for it, post one and wait, and follow it
    expected = undisturbed(client, (MEDIUM[1],))
    accepted, _ = begun(service, client, MEDIUM[1])
    body = dict(ENDLESS.body)
    with ThreadPoolExecutor(4) as pool:
        waiting = pool.submit(wait_for, accepted.body["urls"]["self"])
        following = pool.submit(follow, accepted.body["urls"]["events"])
        posting = pool.submit(post_and_wait, client.url, body)
        time.sleep(0.7)

        # when the service is stopped
        began = time.monotonic()
        wrong = verdict.stopped(service)
        stopped_seconds = time.monotonic() - began
        answers = [waiting.result(1), posting.result(1)]
        text = following.result(1)

    # then it ends well and in time, and everybody was answered
    assert wrong == []
    assert stopped_seconds < 30
    assert [answer.status_code for answer in answers] == [200, 202]
    assert text.endswith("\n\n")

    # and after the next start the work goes on, no attempt lost
    service.start()
    accepted.shown = client.end(accepted, 60)
    assert accepted.shown["attempt"] == 1
    assert verdict.differences(client.url, [accepted], expected) == []
    posted = httpx.post(f"{answers[1].json()['urls']['self']}/cancel", timeout=10)
    assert posted.status_code == 202


def post_and_wait(url: str, body: dict[str, object]) -> httpx.Response:
    return httpx.post(f"{url}/v1/fits", json=body, headers={"Prefer": "wait=60"}, timeout=70)
