"""Messages to a real receiver on loopback: signatures, retries, and what is refused."""

import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import select
from standardwebhooks import Webhook, WebhookVerificationError

from service import datasets, lifecycle, submission
from service.context import Context, open_context
from service.database.schema import deliveries
from service.errors import InvalidInput
from service.keys import create_key, revoke_key
from service.lifecycle import End
from service.limits import Limits
from service.queue import WEBHOOKS
from service.schemas.datasets import DatasetRequest
from service.schemas.lr_range import LrRangeRequest
from service.settings import Settings
from service.webhooks import send_due
from tests import readme
from tests.eventually import eventually
from tests.service.claiming import claim_one
from tests.service.conftest import OWNER
from tests.service.test_lifecycle import expire, finish, submit
from workers import delivering
from workers.addresses import GuardedBackend, is_public
from workers.delivering import Courier, deliver_due, retry_seconds

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105 (the example of Standard Webhooks)


class Receiver:
    """An HTTP server that keeps what it is sent, and answers the next of `answers`, then 204."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.headers: dict[str, str] = {}
        self.body = b""
        self.url = ""


@contextmanager
def receiving(port: int = 0) -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.got.append((dict(self.headers), body))
            self.send_response(receiver.answers.pop(0) if receiver.answers else 204)
            for name, value in receiver.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(receiver.body)

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        receiver.url = f"http://127.0.0.1:{server.server_address[1]}/hook?of=fits"
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as started:
        yield started


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Settings that send messages, to this machine too."""
    changes = {"webhook_secret": SecretStr(SECRET), "webhook_allow_private": True}
    return settings.model_copy(update=changes)


def states(context: Context) -> list[tuple[str, int]]:
    with context.database.read() as connection:
        rows = connection.execute(select(deliveries).order_by(deliveries.c.id)).fetchall()
    return [(row.state, row.n_tries) for row in rows]


def ended(context: Context, table: DatasetRequest, url: str, **webhook: Any) -> str:
    """A fit that has succeeded and is to tell the address; its id."""
    fit = submit(context, table, webhook={"url": url} | webhook)
    claim = claim_one(context, fit["id"], "worker")
    assert claim is not None
    assert finish(context, claim)
    return str(fit["id"])


def test_an_owners_messages_are_signed_with_the_secret_of_each_of_their_keys(
    context: Context, table: DatasetRequest, receiver: Receiver
) -> None:
    # given an owner with two keys, and one that holds no more
    old, new, revoked = (create_key(context.database, OWNER, ["write"], Limits()) for _ in range(3))
    revoke_key(context.database, revoked["id"])

    ended(context, table, receiver.url)
    assert deliver_due(context) == 1

    # then a receiver that knows one of those that hold takes the message
    (headers, body), = receiver.got  # fmt: skip
    for key in (old, new):
        assert Webhook(key["webhook_secret"]).verify(body, headers)
    for secret in (revoked["webhook_secret"], SECRET):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(body, headers)


def test_an_end_is_told_by_a_signed_message(
    context: Context, table: DatasetRequest, receiver: Receiver
) -> None:
    fit_id = ended(context, table, receiver.url)

    assert context.queue.undelivered(WEBHOOKS) == 1
    assert deliver_due(context) == 1

    (headers, body), = receiver.got  # fmt: skip
    told = Webhook(SECRET).verify(body, headers)
    assert told["type"] == "fit.succeeded"
    assert told["data"] == {"id": fit_id, "status": "succeeded"}
    assert told.keys() == {"type", "timestamp", "data"}
    assert told["timestamp"].endswith("Z")
    assert headers["Content-Type"] == "application/json"
    assert headers["webhook-id"].startswith("msg_")
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body.replace(b"succeeded", b"failed"), headers)
    assert states(context) == [("delivered", 1)]
    assert deliver_due(context, time.time() + 1e6) == 0


def test_the_readmes_receiver_reads_them(
    context: Context, table: DatasetRequest, receiver: Receiver
) -> None:
    written: dict[str, Any] = {}
    exec(readme.code("Webhooks", "python"), written)  # noqa: S102 (our own README)
    fit_id = ended(context, table, receiver.url)
    deliver_due(context)
    (headers, body), = receiver.got  # fmt: skip

    told = written["read"](body, headers, SECRET)

    shown = json.loads(readme.code("Webhooks", "json"))
    assert told == shown | {
        "timestamp": told["timestamp"], "data": {"id": fit_id, "status": "succeeded"},
    }  # fmt: skip


def test_the_readmes_secret_is_one() -> None:
    command = readme.code("Webhooks", "sh") + "echo $THALWEG_WEBHOOK_SECRET"
    shell = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)

    settings = Settings(webhook_secret=SecretStr(shell.stdout.strip()))

    assert settings.webhook_secret is not None


def test_a_range_test_is_told_as_what_it_is(
    context: Context, table: DatasetRequest, receiver: Receiver
) -> None:
    dataset = datasets.create_inline_dataset(context, table, OWNER)
    body = {"dataset": dataset["id"], "target": "y", "webhook": {"url": receiver.url}}
    request = LrRangeRequest.model_validate(body)
    test = submission.submit(context, request, owner=OWNER)
    claim = claim_one(context, test["id"], "worker")
    assert claim is not None
    assert finish(context, claim)

    deliver_due(context)

    (headers, sent), = receiver.got  # fmt: skip
    told = Webhook(SECRET).verify(sent, headers)
    assert told["type"] == "lr_range_test.succeeded"
    assert told["data"]["id"] == test["id"]


def test_every_way_to_end_is_told_once(
    context: Context, table: DatasetRequest, receiver: Receiver
) -> None:
    # given fits that end in every way
    webhook = {"url": receiver.url}
    waited, running, lost, dying = (submit(context, table, webhook=webhook) for _ in range(4))
    lifecycle.cancel(context, waited["id"], OWNER)
    claim = claim_one(context, running["id"], "worker")
    assert claim is not None
    lifecycle.cancel(context, running["id"], OWNER)
    assert finish(context, claim)
    claim_one(context, dying["id"], "worker")
    lifecycle.cancel(context, dying["id"], OWNER)
    for _ in range(context.settings.max_attempts):
        claim_one(context, lost["id"], "worker")
        expire(context)
    failed = submit(context, table, webhook=webhook)
    claim = claim_one(context, failed["id"], "worker")
    assert claim is not None
    lifecycle.finish(context, [End(claim, "failed", "diverged", None)])
    # One that is written twice is told once.
    lifecycle.finish(context, [End(claim, "failed", "diverged", None)])

    # when all that is owed is delivered
    while deliver_due(context, time.time() + 60):
        pass

    # then each end was told, once
    told = [Webhook(SECRET).verify(body, headers) for headers, body in receiver.got]
    assert {one["data"]["id"]: one["type"] for one in told} == {
        waited["id"]: "fit.cancelled",
        running["id"]: "fit.cancelled",
        dying["id"]: "fit.cancelled",
        lost["id"]: "fit.failed",
        failed["id"]: "fit.failed",
    }
    assert len(told) == 5
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 5


def test_only_what_was_asked_for_is_told(
    context: Context, table: DatasetRequest, receiver: Receiver
) -> None:
    ended(context, table, receiver.url, events=["fit.failed", "fit.cancelled"])

    assert deliver_due(context) == 0
    assert context.queue.undelivered(WEBHOOKS) == 0
    assert states(context) == []


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


def test_a_worker_that_dies_between_sending_and_noting_sends_again(
    context: Context, table: DatasetRequest, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a try that was made and never noted
    ended(context, table, receiver.url)
    now = time.time()
    with monkeypatch.context() as dying:
        dying.setattr(delivering, "_settle", lambda *_: None)
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


def test_a_private_address_gets_nothing_unless_that_is_allowed(
    context: Context, table: DatasetRequest, receiver: Receiver
) -> None:
    strict = open_context(context.settings.model_copy(update={"webhook_allow_private": False}))
    ended(context, table, receiver.url)
    ended(context, table, receiver.url.replace("127.0.0.1", "localhost"))

    assert deliver_due(strict) == 2

    strict.close()
    assert receiver.got == []
    assert states(context) == [("waiting", 1)] * 2


def test_without_a_secret_nothing_is_promised(context: Context, table: DatasetRequest) -> None:
    bare = open_context(context.settings.model_copy(update={"webhook_secret": None}))

    with pytest.raises(InvalidInput) as refused:
        submit(bare, table, webhook={"url": "https://example.org"})

    bare.close()
    (place,) = refused.value.places
    assert (place.code, place.pointer) == ("webhook_secret_missing", "/webhook")


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


def test_a_dead_address_holds_no_other_up(
    context: Context, table: DatasetRequest, receiver: Receiver
) -> None:
    # given more messages to a dead address than are tried at once, and then one to another
    for _ in range(40):
        ended(context, table, "http://127.0.0.1:1/")
    ended(context, table, receiver.url)
    now = time.time()

    # when what is due is tried
    n_tried = deliver_due(context, now) + deliver_due(context, now)

    # then a few tries were enough to see that the address is dead, and all are tried later
    assert len(receiver.got) == 1
    assert n_tried < 40
    assert deliver_due(context, now + 4) == 0
    assert deliver_due(context, now + 6) > 0


PRIVATE = [
    "127.0.0.1", "127.255.0.1", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255",  # noqa: S104
    "192.168.1.1", "169.254.169.254", "100.64.0.1", "192.0.0.1", "192.0.2.1", "198.18.0.1",
    "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::127.0.0.1", "fe80::1", "fec0::1", "fc00::1", "fd12:3456::1", "ff02::1",
    "2001:db8::1", "2001::1", "100::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:7f00:1",
    "64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b:1::192.168.0.1",
    "2002:7f00:1::", "2002:a00:1::1", "2002:c0a8:101::1", "2002:a9fe:a9fe::1",
]  # fmt: skip
PUBLIC = [
    "1.1.1.1", "8.8.8.8", "172.32.0.1", "192.169.0.1", "2606:4700:4700::1111",
    "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1",
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_of_no_public_network_are_refused(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_allowed(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "host", ["127.1", "2130706433", "0x7f.1", "0177.0.0.1", "localhost", "::1", "0"]
)
def test_other_spellings_of_loopback_are_seen_through(host: str) -> None:
    backend = GuardedBackend(allow_private=False, deadline=time.monotonic() + 5)

    with pytest.raises(Exception, match="not on the public Internet"):
        backend.connect_tcp(host, 80)


def test_what_was_looked_at_is_what_is_connected_to(
    context: Context, table: DatasetRequest, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a name whose first answer is public, and every later one this machine
    asked: list[str] = []

    def rebinding(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        address = "192.0.2.1" if len(asked) > 1 else "203.0.113.9"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    connected: list[str] = []

    def connect(address: tuple[str, int], *_: Any, **__: Any) -> socket.socket:
        connected.append(address[0])
        raise ConnectionRefusedError

    strict = open_context(context.settings.model_copy(update={"webhook_allow_private": False}))
    ended(context, table, "http://rebinding.test/")
    with monkeypatch.context() as net:
        net.setattr("workers.addresses.socket.getaddrinfo", rebinding)
        net.setattr("workers.addresses.is_public", lambda address: address == "203.0.113.9")
        net.setattr("socket.create_connection", connect)
        deliver_due(strict)
    strict.close()

    # then it was resolved once, and that answer was connected to
    assert asked == ["rebinding.test"]
    assert connected == ["203.0.113.9"]
