"""Which addresses a message may go to: public ones alone, whatever spells or names them."""

import socket
import time
from typing import Any

import pytest

from service.context import Context, open_context
from service.schemas.datasets import DatasetRequest
from tests.receiver import Receiver
from tests.workers.webhooks.owed import deliver_due, ended, states
from workers.addresses import GuardedBackend, is_public

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
