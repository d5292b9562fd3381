"""A job's events as the client hears them, however often their stream ends or is cut."""

import pytest

from service.client.errors import Refused, Unreachable
from service.client.streams import events
from tests.service.patient import talking
from tests.service.scripted import GONE, Answer, problem, told

EVENTS = "/v1/fits/fit_1/events"
BUSY = problem(503, "queue_full", "the queue is full", retry_after=0)
END = (9, "end", {"status": "succeeded"})


def never() -> bool:
    """The job goes on."""
    return False


def progress(step: int) -> dict[str, int]:
    return {"step": step}


def test_a_stream_that_is_cut_goes_on_where_it_was() -> None:
    # given a stream that is cut within an event, one that never comes, and one that tells an
    # event again that was told before
    cut = told(
        (1, "progress", progress(1)), (4, "progress", progress(2)), rest=b"id: 5\nev", cut=True
    )
    again = told((4, "progress", progress(2)), (5, "progress", progress(3)))
    with talking(f"GET {EVENTS}", [cut, GONE, BUSY, again, told(END)]) as (script, service):
        heard = list(events(service, EVENTS, never))

    assert heard == [
        ("progress", progress(1)),
        ("progress", progress(2)),
        ("progress", progress(3)),
        ("end", {"status": "succeeded"}),
    ]
    after = [request.headers.get("Last-Event-ID") for request in script.requests]
    assert after == [None, "4", "4", "4", "5"]


def test_a_stream_that_tells_nothing_is_not_followed_for_ever() -> None:
    silent = told(cut=True)
    with talking(f"GET {EVENTS}", silent) as (script, service), pytest.raises(Unreachable):
        list(events(service, EVENTS, never))
    assert 5 < len(script.requests) < 20


def test_long_streams_are_no_failures_though_they_tell_nothing() -> None:
    # given a way to the service on which no stream lives for longer than a minute
    clock = iter(range(0, 6_000, 60))
    answers = [told(cut=True)] * 30 + [told(END)]
    with talking(f"GET {EVENTS}", answers) as (script, service):
        heard = list(events(service, EVENTS, never, lambda: next(clock)))

    assert [kind for kind, _ in heard] == ["end"]
    assert len(script.requests) == 31


def test_a_job_that_is_deleted_meanwhile_ends_its_stream() -> None:
    answers = [told((1, "status", {"status": "queued"})), problem(410, "gone", "it was deleted")]
    with (
        talking(f"GET {EVENTS}", answers) as (_, service),
        pytest.raises(Refused, match="it was deleted"),
    ):
        list(events(service, EVENTS, never))


@pytest.mark.parametrize("seconds", [0, 30])
def test_streams_that_the_service_ends_are_gone_on_with(seconds: float) -> None:
    # given a service that ends each stream in order, most of them before there is news
    first = told((4, "progress", progress(2)))
    answers = [first, *[told()] * 50, told(END)]

    # when a client follows it, even one that does not ask again where there is trouble
    with talking(f"GET {EVENTS}", answers, seconds) as (script, service):
        heard = list(events(service, EVENTS, never))

    # then it comes again after the last event, until the job has ended
    assert [kind for kind, _ in heard] == ["progress", "end"]
    after = [request.headers.get("Last-Event-ID") for request in script.requests]
    assert after == [None] + ["4"] * 51


def test_a_job_that_ends_without_an_event_is_not_followed_for_ever() -> None:
    # given a service whose streams only say when to come again, after one with news
    ended = iter([False, False, True])
    answers = [told((4, "progress", progress(2))), told()]
    with talking(f"GET {EVENTS}", answers) as (script, service):
        heard = list(events(service, EVENTS, lambda: next(ended)))

    assert [kind for kind, _ in heard] == ["progress"]
    assert len(script.requests) == 4


def test_an_empty_answer_is_not_taken_for_a_stream_that_ended() -> None:
    empty = Answer(headers={"Content-Type": "text/event-stream"})
    with (
        talking(f"GET {EVENTS}", empty) as (script, service),
        pytest.raises(Unreachable, match="ended before the job did"),
    ):
        list(events(service, EVENTS, never))
    assert 5 < len(script.requests) < 20


def without_ids(*kinds: str, begin: str = "") -> Answer:
    """A stream whose events have no ids of their own."""
    blocks = "".join(f"event: {kind}\ndata: {{}}\n\n" for kind in kinds)
    return Answer(body=f"{begin}{blocks}".encode(), headers={"Content-Type": "text/event-stream"})


@pytest.mark.parametrize("begin", ["", "id: 4\nevent: status\ndata: {}\n\n", "id\n\n"])
def test_events_without_ids_are_new(begin: str) -> None:
    with talking(f"GET {EVENTS}", without_ids("progress", "progress", "end", begin=begin)) as both:
        heard = [kind for kind, _ in events(both[1], EVENTS, never)]

    assert heard[-3:] == ["progress", "progress", "end"]
    assert len(heard) == 3 + begin.count("status")


@pytest.mark.parametrize("event_id", ["one", "-1", "1.5", "²", "9" * 5_000])
def test_an_id_that_is_no_number_is_told(event_id: str) -> None:
    body = f"id: {event_id}\ndata: {{}}\n\n".encode()
    stream = Answer(body=body, headers={"Content-Type": "text/event-stream"})
    with (
        talking(f"GET {EVENTS}", stream) as (script, service),
        pytest.raises(Unreachable, match="none of Thalweg's: one has the id '") as error,
    ):
        list(events(service, EVENTS, never))
    assert len(script.requests) == 1
    assert len(error.value.lines[0]) < 200


@pytest.mark.parametrize("data", ["{", "[1]", "still here"])
def test_data_that_is_no_object_is_told(data: str) -> None:
    stream = Answer(
        body=f"id: 1\nevent: status\ndata: {data}\n\n".encode(),
        headers={"Content-Type": "text/event-stream"},
    )
    with (
        talking(f"GET {EVENTS}", stream) as (_, service),
        pytest.raises(Unreachable, match="a 'status' is no JSON object"),
    ):
        list(events(service, EVENTS, never))
