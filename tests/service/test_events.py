"""Waiting for events on a real redis."""

import threading

import orjson

from service.context import Context


def test_an_answer_is_waited_for_longer_than_a_socket_is(context: Context) -> None:
    # given an event that comes later than redis' client waits for a silent server
    later = threading.Timer(5.5, context.events.publish, ("ticket", "done", {"n": 1}))
    later.start()

    # when it is waited for
    told = context.events.first("ticket", seconds=20)

    # then it comes
    later.join()
    assert told == ("done", {"n": 1})


def test_calls_are_forgotten_after_a_minute(context: Context) -> None:
    context.events.publish("fit", "end", {"status": "succeeded"})

    assert [context.events.client.ttl(key) for key in context.events.client.keys("*fit")] == [60]


def test_nothing_is_told_for_a_claim_that_another_one_has_followed(context: Context) -> None:
    # given two attempts at one fit, the first of which does not know that it is lost
    for fence, step in ((1, 10), (2, 20), (1, 30), (2, 40)):
        context.events.tell("fit", [("progress", {"step": step})], fence=fence)

    # then whoever hears its tale hears nothing of the first one after the second one spoke
    heard = context.events.hear("fit", after=0, seconds=0)
    assert [orjson.loads(event.data)["step"] for event in heard] == [10, 20, 40]


def test_what_is_told_is_forgotten_after_a_day(context: Context) -> None:
    context.events.tell("fit", [("progress", {"step": 1})], fence=1)

    keys = context.events.client.keys("*fit")
    assert len(keys) == 2
    assert {context.events.client.ttl(key) for key in keys} == {86_400}
