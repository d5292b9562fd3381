"""Receivers that say nothing hold up no other owner's messages, nor their own owner's for long."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from sqlalchemy import update

from service.context import Context
from service.database.schema import deliveries
from service.schemas.datasets import DatasetRequest
from tests.eventually import eventually
from tests.installations import ON_EACH
from tests.receiver import Receiver
from tests.workers.webhooks.owed import deliver_due, ended, owe_to, states
from workers.delivering import Courier, retry_seconds
from workers.turns import Turns


@ON_EACH
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


@contextmanager
def silent_hosts(n: int) -> Iterator[list[socket.socket]]:
    """Servers that take connections and say nothing; at the end these are cut off."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=256))
            for _ in range(n)
        ]


def address(server: socket.socket, path: str = "") -> str:
    return f"http://127.0.0.1:{server.getsockname()[1]}/{path}"


def finished(courier: Courier) -> bool:
    return not courier.busy


@ON_EACH
@pytest.mark.parametrize("n_hosts", [1, 50])
def test_silent_addresses_of_one_owner_hold_no_other_owners_messages_up(
    context: Context, receiver: Receiver, n_hosts: int
) -> None:
    courier = Courier(context)
    with silent_hosts(n_hosts) as servers:
        # given an owner with 200 messages to silent addresses, some of which are being tried
        urls = [address(servers[i % n_hosts], f"{i}") for i in range(200)]
        owe_to(context, "ada", urls)
        courier.wake()
        eventually(lambda: tried(context) > 0, 30)

        # when another owner's message is owed
        owe_to(context, "bob", [receiver.url])
        courier.wake()

        # then it comes long before one of the others' tries is over
        eventually(lambda: len(receiver.got) == 1, 10)
        assert courier.busy
        assert tried(context) - 1 <= 4
    # Cut off, each host is found away and left alone.
    eventually(lambda: finished(courier), 60)


def tried(context: Context) -> int:
    return sum(n_tries for _, n_tries in states(context))


@ON_EACH
def test_a_silent_host_holds_no_other_host_of_its_owner_up(
    context: Context, receiver: Receiver
) -> None:
    courier = Courier(context)
    with silent_hosts(1) as (server,):
        owe_to(context, "ada", [address(server, f"{i}") for i in range(20)])
        owe_to(context, "ada", [receiver.url] * 3)
        courier.wake()

        eventually(lambda: len(receiver.got) == 3, 10)
        assert courier.busy
    eventually(lambda: finished(courier), 60)


@ON_EACH
def test_a_host_that_is_away_is_left_alone_whatever_the_path(
    context: Context, receiver: Receiver
) -> None:
    # given a host that nobody listens at, for two owners
    now = time.time()
    urls = [f"http://127.0.0.1:1/{i}" for i in range(40)]
    owe_to(context, "ada", urls, now)
    owe_to(context, "bob", urls[:1], now + 3)

    # when a few tries have found it away, then its owner's others wait as long as these
    assert 1 <= deliver_due(context, now) <= 4
    # and the other owner, who knows nothing of that, has a try of their own
    assert deliver_due(context, now + 4) == 1
    assert 1 <= deliver_due(context, now + 6) <= 4


@ON_EACH
def test_a_host_is_tried_again_within_a_minute_of_being_found_away(context: Context) -> None:
    # given a message that was tried for long, and another one to the same host
    now = time.time()
    owe_to(context, "ada", ["http://127.0.0.1:1/a"], now)
    moment = now
    for n_tries in range(1, 8):
        assert deliver_due(context, moment) == 1
        moment += retry_seconds(n_tries)
    owe_to(context, "ada", ["http://127.0.0.1:1/b"] * 2, moment)
    with context.database.write() as connection:
        # The old one first: it then waits for more than ten minutes.
        connection.execute(
            update(deliveries).where(deliveries.c.n_tries == 0).values(next_at=moment + 1)
        )
    assert deliver_due(context, moment) == 1

    # then that one's patience is not the other's
    assert deliver_due(context, moment + 59) == 0
    assert deliver_due(context, moment + 61) > 0


def test_owners_with_silent_hosts_take_turns_with_those_who_come_later() -> None:
    """However many there are: a place that comes free is for who had none for the longest."""
    turns = Turns(16, most_of_an_owner=4, most_of_a_host=3)
    crowd = [f"a{i:02}" for i in range(40)]
    held = []
    while (owner := turns.next_of(crowd)) is not None:
        turns.take(owner, "silent")
        held.append(owner)
    assert sorted(held) == crowd[:16]

    # when one comes whose messages were owed last of all
    turns.give_back(held[0], "silent")

    # then they have their turn once those who wait have had theirs
    waited = 0
    while (owner := turns.next_of([*crowd, "zoe"])) != "zoe":
        assert owner is not None
        turns.take(owner, "silent")
        turns.give_back(owner, "silent")
        waited += 1
    assert waited <= 40


def test_places_are_bounded_by_owner_by_host_and_in_all() -> None:
    turns = Turns(6, most_of_an_owner=4, most_of_a_host=3)

    for _ in range(3):
        assert turns.full_hosts("ada") == []
        turns.take("ada", "silent")
    assert turns.full_hosts("ada") == ["silent"]
    assert turns.full_hosts("bob") == []
    turns.take("ada", "other")
    assert turns.next_of(["ada"]) is None
    assert turns.next_of(["ada", "bob"]) == "bob"
    turns.take("bob", "silent")
    turns.take("cy", "silent")
    assert turns.next_of(["bob"]) is None

    for owner, host in [("ada", "silent")] * 3 + [("ada", "other"), ("bob", "silent")]:
        turns.give_back(owner, host)
    assert turns.any_taken()
    turns.give_back("cy", "silent")
    assert not turns.any_taken()
    assert turns.full_hosts("ada") == []
