"""Delivering: what is not taken is sent again, and what nobody wants is not."""

import socket
import threading
import time
from collections import Counter
from contextlib import suppress

import pytest
from sqlalchemy import select
from standardwebhooks import Webhook

from service.context import Context, open_context
from service.database.schema import webhook_hosts
from service.errors import InvalidInput
from service.queue import WEBHOOKS
from service.schemas.datasets import DatasetRequest
from service.webhooks import send_due
from tests.eventually import eventually
from tests.installations import ON_EACH
from tests.receiver import SECRET, Receiver
from tests.service.claiming import claim_one
from tests.service.test_lifecycle import finish, submit
from tests.workers.webhooks.owed import deliver_due, ended, owe_to, states
from workers import tries
from workers.delivering import Courier
from workers.tries import retry_seconds


def test_what_is_not_taken_is_sent_again_under_the_same_id(
    context: Context, table: DatasetRequest, receiver: Receiver
) -> None:
    # given a receiver that fails twice
    receiver.answers = [500, 302]
    receiver.headers = {"Location": receiver.url}
    ended(context, table, receiver.url)
    began = time.time()

    # when time goes on
    tried = [deliver_due(context, began + after) for after in (1, 5, 6.5, 15, 17, 100)]

    # then it was tried after 0, 5 and 10 s, and no redirect was followed
    assert tried == [1, 0, 1, 0, 1, 0]
    assert len(receiver.got) == 3
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1
    assert len({body for _, body in receiver.got}) == 1
    stamps = [int(headers["webhook-timestamp"]) for headers, _ in receiver.got]
    assert stamps == sorted(stamps)
    for headers, body in receiver.got:
        Webhook(SECRET).verify(body, headers)
    assert states(context) == [("delivered", 3)]


def test_tries_end_after_a_day(context: Context, table: DatasetRequest, receiver: Receiver) -> None:
    receiver.answers = [503] * 100
    ended(context, table, receiver.url)
    now = began = time.time()

    while states(context)[0][0] == "waiting":
        deliver_due(context, now)
        now += retry_seconds(states(context)[0][1]) + 0.1

    assert states(context) == [("given_up", 15)]
    last = int(receiver.got[-1][0]["webhook-timestamp"])
    assert 80_000 < last - began <= 86_400


def test_gone_switches_the_address_off_for_its_owner(
    context: Context, table: DatasetRequest, receiver: Receiver
) -> None:
    # given three messages to an address that answers 410 to the first
    receiver.answers = [410]
    ended(context, table, receiver.url)
    running = submit(context, table, webhook={"url": receiver.url})
    assert deliver_due(context) == 1
    claim = claim_one(context, running["id"], "worker")
    assert claim is not None
    assert finish(context, claim)

    # when the time of the others comes
    deliver_due(context, time.time() + 60)

    # then nothing more is sent, and no new fit may name it; another address is not touched
    assert len(receiver.got) == 1
    assert states(context) == [("switched_off", 1), ("switched_off", 1)]
    with pytest.raises(InvalidInput) as refused:
        submit(context, table, webhook={"url": receiver.url})
    (place,) = refused.value.places
    assert (place.code, place.pointer) == ("webhook_switched_off", "/webhook/url")
    ended(context, table, receiver.url + "&more")
    deliver_due(context)
    assert len(receiver.got) == 2


@ON_EACH
def test_what_is_switched_off_or_old_is_dropped_to_the_last_message(
    context: Context, receiver: Receiver
) -> None:
    # given an address with more messages than are written at once
    now = time.time()
    receiver.answers = [410] * 3
    owe_to(context, "ada", [receiver.url] * 2500, now)

    # when it answers 410, and when all that is long ago
    deliver_due(context, now)
    off = Counter(state for state, _ in states(context))
    send_due(context, now + 8 * 86_400)

    assert off == {"switched_off": 2500}
    assert len(receiver.got) <= 3
    assert states(context) == []
    with context.database.read() as connection:
        assert connection.execute(select(webhook_hosts)).fetchall() == []


def test_a_worker_that_dies_between_sending_and_noting_sends_again(
    context: Context, table: DatasetRequest, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a try that was made and never noted
    ended(context, table, receiver.url)
    now = time.time()
    with monkeypatch.context() as dying:
        dying.setattr(tries, "_settle", lambda *_: None)
        assert deliver_due(context, now) == 1

    # when its lease is over
    early = deliver_due(context, now + 100)
    late = deliver_due(context, now + 121)

    # then it comes again, under its id
    assert (early, late) == (0, 1)
    assert len(receiver.got) == 2
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1
    assert states(context) == [("delivered", 2)]


def test_a_sweep_wakes_for_what_is_due_and_forgets_what_is_old(
    context: Context, table: DatasetRequest, receiver: Receiver
) -> None:
    receiver.answers = [500]
    ended(context, table, receiver.url)
    deliver_due(context)
    context.events.client.flushall()
    now = time.time()

    send_due(context, now)
    assert context.queue.undelivered(WEBHOOKS) == 0
    for _ in range(2):
        send_due(context, now + 6)
    assert context.queue.undelivered(WEBHOOKS) == 1

    assert deliver_due(context, now + 6) == 1
    send_due(context, now + 6 * 86_400)
    assert states(context) == [("delivered", 2)]
    send_due(context, now + 8 * 86_400)
    assert states(context) == []


def test_a_courier_delivers_all_that_is_due(
    context: Context, table: DatasetRequest, receiver: Receiver
) -> None:
    courier = Courier(context)
    for _ in range(20):
        ended(context, table, receiver.url)
        courier.wake()

    eventually(
        lambda: len(receiver.got) == 20 and {s for s, _ in states(context)} == {"delivered"}, 30
    )
    ended(context, table, receiver.url)
    courier.wake()
    eventually(
        lambda: len(receiver.got) == 21 and {s for s, _ in states(context)} == {"delivered"}, 30
    )


def test_an_answer_without_an_end_is_not_read(
    context: Context, table: DatasetRequest, receiver: Receiver
) -> None:
    receiver.answers = [200]
    receiver.body = b"x" * 50_000_000
    ended(context, table, receiver.url)
    began = time.monotonic()

    assert deliver_due(context) == 1

    assert time.monotonic() - began < 10
    assert states(context) == [("delivered", 1)]


@pytest.mark.parametrize("answer", [b"", b"no HTTP\r\n\r\n", b"HTTP/1.1 200 OK\r\n"])
def test_what_is_no_answer_is_tried_again(
    context: Context, table: DatasetRequest, answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a server that says something else, or goes on saying nothing
    monkeypatch.setattr("workers.webhooks._WHOLE_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        connections = []

        def drip() -> None:
            connection, _ = server.accept()
            connections.append(connection)
            connection.sendall(answer)

        thread = threading.Thread(target=drip)
        thread.start()
        ended(context, table, f"http://127.0.0.1:{server.getsockname()[1]}/")

        began = time.monotonic()
        assert deliver_due(context) == 1

        thread.join()
        for connection in connections:
            connection.close()
    assert time.monotonic() - began < 5
    assert states(context) == [("waiting", 1)]


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/", "http://no-such-host.invalid/", "http://..a/"]
)
def test_an_address_that_is_not_there_is_tried_again(
    context: Context, table: DatasetRequest, url: str
) -> None:
    ended(context, table, url)

    assert deliver_due(context) == 1

    assert states(context) == [("waiting", 1)]


def test_without_a_secret_each_message_waits_for_itself_alone(
    context: Context, receiver: Receiver
) -> None:
    # given messages to one host that can no longer be signed
    now = time.time()
    owe_to(context, "ada", [receiver.url] * 20, now)
    bare = open_context(context.settings.model_copy(update={"webhook_secret": None}))

    # then nothing is said of the host: each has its own try, and is sent once there is a secret
    assert deliver_due(bare, now) == 20
    bare.close()
    owe_to(context, "ada", [receiver.url], now)
    assert deliver_due(context, now + 1) == 1
    assert deliver_due(context, now + 6) == 20
    assert Counter(states(context)) == {("delivered", 1): 1, ("delivered", 2): 20}


@pytest.mark.parametrize("name", ["courier", "delivery"])
def test_where_no_thread_can_be_made_messages_come_later(
    context: Context, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    # given a machine without a thread to spare
    owe_to(context, "ada", [receiver.url] * 20)
    moment = time.time()
    courier = Courier(context, clock=lambda: moment)
    start = threading.Thread.start

    def fail(thread: threading.Thread) -> None:
        if thread.name.startswith(name):
            raise RuntimeError("can't start new thread")
        start(thread)

    with monkeypatch.context() as crowded:
        crowded.setattr(threading.Thread, "start", fail)
        with suppress(RuntimeError):
            courier.wake()
        eventually(lambda: not courier.busy, 10)
    assert receiver.got == []

    # when there is one again, then every place is free again, and all is sent
    moment += 121
    courier.wake()
    eventually(lambda: not courier.busy, 30)
    assert {state for state, _ in states(context)} == {"delivered"}
    assert len(receiver.got) == 20
