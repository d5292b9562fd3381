"""Waiting for events on a real redis."""

import threading

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
