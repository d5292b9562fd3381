"""Receivers that say nothing hold up no other owner's messages, nor their own owner's for long."""

import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from sqlalchemy import select, update

from service.context import Context
from service.database.deliveries import DueHost
from service.database.schema import deliveries
from service.schemas.datasets import DatasetRequest
from tests.eventually import eventually
from tests.installations import ON_EACH
from tests.receiver import Receiver, receiving
from tests.workers.webhooks.owed import deliver_due, ended, owe_to, states
from workers.delivering import Courier
from workers.tries import retry_seconds
from workers.turns import Turns

DAY_SECONDS = 86_400.0


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


@ON_EACH
def test_what_waits_for_a_host_that_is_away_is_not_written_anew(context: Context) -> None:
    now = time.time()
    owe_to(context, "ada", ["http://127.0.0.1:1/"] * 40, now)

    n_tried = deliver_due(context, now)

    with context.database.read() as connection:
        untouched = select(deliveries.c.id).where(deliveries.c.next_at == now)
        assert len(connection.execute(untouched).fetchall()) == 40 - n_tried


@ON_EACH
def test_a_host_that_was_silent_for_a_day_has_its_backlog_given_up(context: Context) -> None:
    # given more messages than a day of tries comes to, and later ones
    began = time.time()
    owe_to(context, "ada", ["http://127.0.0.1:1/"] * 2500, began)
    deliver_due(context, began)
    owe_to(context, "ada", ["http://127.0.0.1:1/"] * 10, began + 3600)

    # when the host is found silent all day, a little before it is over, and after it
    for moment in range(3_000, int(DAY_SECONDS), 3_000):
        deliver_due(context, began + moment)
    deliver_due(context, began + DAY_SECONDS - 60)
    early = Counter(state for state, _ in states(context))
    deliver_due(context, began + DAY_SECONDS + 60)

    # then what is a day old is given up at once, and what is not has its day
    assert early["given_up"] == 0
    assert Counter(state for state, _ in states(context)) == {"given_up": 2500, "waiting": 10}


@ON_EACH
def test_a_day_without_workers_is_no_silence(context: Context) -> None:
    # given a host that was found away just before the workers were
    began = time.time()
    owe_to(context, "ada", ["http://127.0.0.1:1/"] * 100, began)
    deliver_due(context, began)

    # when they are back a day later, and it still does not answer
    deliver_due(context, began + DAY_SECONDS + 60)

    # then only what was tried before has had its day
    assert Counter(state for state, _ in states(context))["waiting"] >= 90


@ON_EACH
def test_a_host_that_has_answered_in_the_day_keeps_its_backlog(context: Context) -> None:
    # given a host that is away, but for a moment
    began = time.time()
    with receiving() as receiver:
        port, url = int(receiver.url.split(":")[2].split("/")[0]), receiver.url
    owe_to(context, "ada", [url], began)
    assert deliver_due(context, began) == 1
    with receiving(port):
        assert deliver_due(context, began + 6) == 1

    # when it is found away a day later, with messages that wait for so long
    owe_to(context, "ada", [url] * 20, began + 1)
    deliver_due(context, began + DAY_SECONDS + 10)

    # then these are tried one by one, for none of them was before
    assert Counter(state for state, _ in states(context))["waiting"] >= 10


@ON_EACH
def test_a_slow_path_does_not_make_its_host_wait(
    context: Context, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a host that answers at one path, and at another one takes too long
    monkeypatch.setattr("workers.webhooks._WHOLE_SECONDS", 1.0)
    receiver.slow = {"/slow"}
    slow = receiver.url.replace("/hook?of=fits", "/slow")
    owe_to(context, "ada", [slow, receiver.url])
    courier = Courier(context)
    courier.wake()
    eventually(lambda: finished(courier), 30)
    assert sorted(states(context)) == [("delivered", 1), ("waiting", 1)]

    # then only that message waits
    owe_to(context, "ada", [receiver.url])
    courier.wake()
    eventually(lambda: finished(courier), 30)
    assert sorted(states(context)) == [("delivered", 1), ("delivered", 1), ("waiting", 1)]


@ON_EACH
def test_many_messages_to_a_slow_path_do_not_hide_that_its_host_is_there(
    context: Context, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a host that is found away by those messages that were owed first
    monkeypatch.setattr("workers.webhooks._WHOLE_SECONDS", 0.5)
    receiver.slow = {"/slow"}
    now = time.time()
    owe_to(context, "ada", [receiver.url.replace("/hook?of=fits", "/slow")] * 12, now)
    owe_to(context, "ada", [receiver.url], now + 0.5)
    deliver_due(context, now + 1)
    assert "delivered" not in {state for state, _ in states(context)}

    # when it is tried again, then what goes elsewhere comes first
    courier = Courier(context, clock=lambda: now + 7)
    courier.wake()
    eventually(lambda: ("delivered", 1) in states(context), 10)
    receiver.released.set()
    eventually(lambda: finished(courier), 60)


@ON_EACH
def test_an_owner_alone_has_most_of_the_places_at_a_host_that_answers(
    context: Context, receiver: Receiver
) -> None:
    # given a host that has answered, and now takes a while
    owe_to(context, "ada", [receiver.url])
    assert deliver_due(context) == 1
    receiver.slow = {"/hook?of=fits"}
    owe_to(context, "ada", [receiver.url] * 40)
    courier = Courier(context)
    courier.wake()
    eventually(lambda: len(receiver.got) == 1 + 12, 10)

    # when another owner comes, then there is a place for them at once
    with receiving() as other:
        owe_to(context, "bob", [other.url])
        courier.wake()
        eventually(lambda: len(other.got) == 1, 10)
        assert len(receiver.got) == 1 + 12

        receiver.released.set()
        eventually(lambda: finished(courier), 60)
    assert len(receiver.got) == 41


@ON_EACH
def test_workers_that_deliver_at_one_moment_make_each_try_once(
    context: Context, receiver: Receiver
) -> None:
    # given messages to a host that is there, to one that is not, and to an address that wants none
    receiver.answers = [204] * 20 + [410]
    owe_to(context, "ada", [receiver.url + f"&n={i}" for i in range(60)])
    owe_to(context, "bob", ["http://127.0.0.1:1/"] * 60)
    with receiving() as gone:
        gone.answers = [410] * 60
        owe_to(context, "cy", [gone.url] * 60)

        # when three workers come upon them
        couriers = [Courier(context) for _ in range(3)]
        for courier in couriers:
            courier.wake()
        for courier in couriers:
            eventually(lambda it=courier: finished(it), 60)  # type: ignore[misc]

    # then each of the first was sent once, the second wait, and the third are off
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == len(receiver.got) == 60
    found = Counter(state for state, _ in states(context))
    assert found == {"delivered": 59, "waiting": 60, "switched_off": 61}


def test_owners_with_silent_hosts_take_turns_with_those_who_come_later() -> None:
    """However many there are: a place that comes free is for who had none for the longest."""
    turns = Turns(16, most_of_an_owner=4, most_of_a_host=3, kept_free=4)
    crowd = [DueHost(f"a{i:02}", "silent") for i in range(40)]
    held = []
    while (one := turns.next_of(crowd)) is not None:
        turns.take(one.owner, one.host)
        held.append(one)
    assert sorted(held) == crowd[:16]

    # when one comes whose messages were owed last of all
    zoe = DueHost("zoe", "silent")
    turns.give_back(held[0].owner, "silent")

    # then they have their turn once those who wait have had theirs
    waited = 0
    while (one := turns.next_of([*crowd, zoe])) != zoe:
        assert one is not None
        turns.take(one.owner, one.host)
        turns.give_back(one.owner, one.host)
        waited += 1
    assert waited <= 40


def test_hosts_of_an_owner_take_turns() -> None:
    turns = Turns(16, most_of_an_owner=4, most_of_a_host=3, kept_free=4)
    hosts = [DueHost("ada", name) for name in ("a", "b", "c")]

    order = []
    for _ in range(6):
        one = turns.next_of(hosts)
        assert one is not None
        turns.take(one.owner, one.host)
        turns.give_back(one.owner, one.host)
        order.append(one.host)

    assert order == ["a", "b", "c"] * 2


def test_places_are_bounded_by_owner_by_host_and_in_all() -> None:
    turns = Turns(6, most_of_an_owner=4, most_of_a_host=3, kept_free=2)
    silent, other = DueHost("ada", "silent"), DueHost("ada", "other")
    bobs = DueHost("bob", "silent")

    for _ in range(3):
        assert turns.next_of([silent]) == silent
        turns.take("ada", "silent")
    assert turns.next_of([silent]) is None
    assert turns.next_of([silent, other]) == other
    turns.take("ada", "other")
    assert turns.next_of([other]) is None
    assert turns.next_of([other, bobs]) == bobs
    turns.take("bob", "silent")
    turns.take("cy", "silent")
    assert turns.next_of([bobs]) is None

    for owner, host in [("ada", "silent")] * 3 + [("ada", "other"), ("bob", "silent")]:
        turns.give_back(owner, host)
    assert turns.any_taken()
    turns.give_back("cy", "silent")
    assert not turns.any_taken()
    assert turns.next_of([silent]) == silent


def test_past_the_bounds_are_hosts_that_answer_while_nobody_else_waits() -> None:
    turns = Turns(10, most_of_an_owner=3, most_of_a_host=2, kept_free=2)
    answers, silent = DueHost("ada", "there", answers=True), DueHost("ada", "silent")
    bobs = DueHost("bob", "silent")

    n_taken = 0
    while (one := turns.next_of([answers])) is not None:
        turns.take(one.owner, one.host)
        n_taken += 1
        # Who is within the bounds comes first, and a host that does not answer not at all.
        assert turns.next_of([answers, silent, bobs]) in ([bobs, silent] if n_taken < 3 else [bobs])

    assert n_taken == 8
    assert turns.next_of([bobs]) == bobs
