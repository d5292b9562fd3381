"""A job's events over HTTP: their order, where they go on, what a flushed redis leaves of them."""

import json
import threading
import time
from typing import Any

import pytest
import redis
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from service import lifecycle
from service.context import Context, open_context
from service.following import END_ID
from service.lifecycle import Claim
from tests.service.api.resources import create_fit
from tests.service.api.test_lr_range_tests import create as create_range_test
from tests.service.claiming import claim_one
from tests.service.later import later
from tests.service.test_lifecycle import expire, finish

PROGRESS = {"step": 5, "loss": 0.5}
EPOCH = {"epoch": 4, "train_loss": 0.5, "validation_loss": None}
MOVES = ["run", "tell", "drain", "lose", "cancel", "flush"]
JSON = {"Accept": "application/json"}


def status(name: str, stop_reason: str | None = None) -> dict[str, Any]:
    return {"status": name, "stop_reason": stop_reason}


def claimed(context: Context, fit_id: str) -> Claim:
    claim = claim_one(context, fit_id, "worker")
    assert claim is not None
    return claim


def events_of(body: str) -> list[dict[str, Any]]:
    """The events of a stream, read as the HTML standard says."""
    events = []
    for block in body.split("\n\n"):
        lines = [line.partition(": ") for line in block.splitlines()]
        fields = {name: value for name, _, value in lines if name in ("id", "event", "data")}
        if fields:
            data = json.loads(fields["data"])
            events.append({"id": int(fields["id"]), "type": fields["event"], "data": data})
    return events


def streamed(http: FlaskClient, fit_id: str, after: int | None = None) -> list[dict[str, Any]]:
    """The whole stream of a job that ends."""
    headers = {} if after is None else {"Last-Event-ID": str(after)}
    answer = http.get(f"/v1/fits/{fit_id}/events", headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    return events_of(answer.text)


def listed(http: FlaskClient, fit_id: str, **headers: str) -> list[dict[str, Any]]:
    answer = http.get(f"/v1/fits/{fit_id}/events", headers=JSON | headers)
    assert answer.status_code == 200, answer.text
    body = answer.get_json()
    assert body["object"] == "list"
    events: list[dict[str, Any]] = body["data"]
    return events


def types(events: list[dict[str, Any]]) -> list[str]:
    return [f"{one['type']} {one['data'].get('status', '')}".strip() for one in events]


def eventful(http: FlaskClient, context: Context) -> str:
    """A fit that told, was drained, went on and ended."""
    fit_id = str(create_fit(http)["id"])
    claim = claimed(context, fit_id)
    context.events.tell(fit_id, [("epoch", EPOCH), ("progress", PROGRESS)])
    lifecycle.requeue(context, claim)
    claim = claimed(context, fit_id)
    context.events.tell(fit_id, [("progress", PROGRESS | {"step": 7})])
    assert finish(context, claim)
    return fit_id


def flush(context: Context) -> None:
    context.events.client.flushall()


def test_a_stream_has_all_that_happened_in_order(http: FlaskClient, context: Context) -> None:
    fit_id = eventful(http, context)

    events = streamed(http, fit_id)

    assert [(one["type"], one["data"]) for one in events] == [
        ("status", status("queued")),
        ("status", status("running")),
        ("epoch", EPOCH),
        ("progress", PROGRESS),
        ("status", status("queued")),
        ("status", status("running")),
        ("progress", PROGRESS | {"step": 7}),
        ("end", status("succeeded", "completed")),
    ]
    ids = [one["id"] for one in events]
    assert ids == sorted(set(ids))
    assert ids[-1] == END_ID


def test_a_stream_says_once_how_soon_to_come_again(http: FlaskClient, context: Context) -> None:
    fit_id = eventful(http, context)

    answer = http.get(f"/v1/fits/{fit_id}/events")

    assert answer.text.startswith("retry: 2000\n\nid: 1\nevent: status\ndata: {")
    assert answer.text.count("retry:") == 1
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Accel-Buffering"] == "no"


def test_a_client_goes_on_after_any_event(http: FlaskClient, context: Context) -> None:
    fit_id = eventful(http, context)
    events = streamed(http, fit_id)

    for at, event in enumerate(events[:-1]):
        assert streamed(http, fit_id, after=event["id"]) == events[at + 1 :]
        assert listed(http, fit_id, **{"Last-Event-ID": str(event["id"])}) == events[at + 1 :]

    answer = http.get(f"/v1/fits/{fit_id}/events", headers={"Last-Event-ID": str(END_ID)})
    assert (answer.status_code, answer.data) == (204, b"")
    assert listed(http, fit_id, **{"Last-Event-ID": str(END_ID)}) == []


def test_the_list_is_the_stream(http: FlaskClient, context: Context) -> None:
    fit_id = eventful(http, context)

    assert listed(http, fit_id) == streamed(http, fit_id)


def test_who_listens_from_the_start_hears_what_a_late_client_does(
    http: FlaskClient, context: Context
) -> None:
    # given a fit that waits, and a client that listens
    fit_id = create_fit(http)["id"]
    heard: list[list[dict[str, Any]]] = []
    listener = threading.Thread(target=lambda: heard.append(streamed(http, fit_id)))
    listener.start()

    # when it runs, tells, is cancelled and ends
    claim = claimed(context, fit_id)
    for step in range(20):
        context.events.tell(fit_id, [("progress", {"step": step})])
    http.post(f"/v1/fits/{fit_id}/cancel")
    http.post(f"/v1/fits/{fit_id}/cancel")
    assert finish(context, claim)
    listener.join(30)

    # then the two have the same events
    assert heard == [streamed(http, fit_id)]
    assert types(heard[0]) == [
        "status queued", "status running", *["progress"] * 20, "status cancelling", "end cancelled",
    ]  # fmt: skip


@pytest.mark.parametrize("known", range(4))
def test_a_redis_that_is_flushed_midway_ends_no_stream(
    http: FlaskClient, context: Context, known: int
) -> None:
    # given a client that knows the first events of a running fit
    fit_id = create_fit(http)["id"]
    claim = claimed(context, fit_id)
    context.events.tell(fit_id, [("progress", PROGRESS)] * 2)
    after = [0, *(one["id"] for one in listed(http, fit_id))][known]
    heard: list[list[dict[str, Any]]] = []
    listener = threading.Thread(target=lambda: heard.append(streamed(http, fit_id, after)))

    # when redis is flushed before it comes, and again while it listens
    flush(context)
    listener.start()
    context.events.tell(fit_id, [("progress", PROGRESS | {"step": 8})])
    time.sleep(0.5)
    flush(context)
    context.events.tell(fit_id, [("progress", PROGRESS | {"step": 9})])
    assert finish(context, claim)
    listener.join(30)

    # then it hears the rest, and the end
    rest = [
        "status queued", "status running", "progress", "progress", "end succeeded",
    ]  # fmt: skip
    assert types(heard[0]) == rest[min(known, 2) :]
    assert [one["data"]["step"] for one in heard[0] if one["type"] == "progress"] == [8, 9]
    # And who comes later, what was told since.
    assert types(streamed(http, fit_id)) == [*rest[:2], "progress", "end succeeded"]


@pytest.mark.parametrize("redis_is", ["flushed", "away"])
def test_an_ended_fits_events_come_from_its_row(
    http: FlaskClient, context: Context, app: Any, redis_is: str
) -> None:
    fit_id = eventful(http, context)

    if redis_is == "flushed":
        flush(context)
    else:
        settings = context.settings.model_copy(update={"redis_url": "redis://127.0.0.1:1"})
        app.extensions["thalweg"].close()
        app.extensions["thalweg"] = open_context(settings)

    assert types(streamed(http, fit_id)) == ["status queued", "status running", "end succeeded"]
    assert types(streamed(http, fit_id, after=2)) == ["end succeeded"]
    assert listed(http, fit_id) == streamed(http, fit_id)


def test_an_end_that_redis_never_told_of_is_found(http: FlaskClient, context: Context) -> None:
    fit_id = create_fit(http)["id"]
    claim = claimed(context, fit_id)
    deaf = open_context(context.settings.model_copy(update={"redis_url": "redis://127.0.0.1:1"}))

    with later(0.3, finish, deaf, claim):
        events = streamed(http, fit_id)
    deaf.close()
    assert types(events) == ["status queued", "status running", "end succeeded"]


def test_fits_that_end_otherwise(http: FlaskClient, context: Context) -> None:
    waited, lost = (create_fit(http)["id"] for _ in range(2))
    http.post(f"/v1/fits/{waited}/cancel")
    for _ in range(context.settings.max_attempts):
        claimed(context, lost)
        expire(context)

    assert types(streamed(http, waited)) == ["status queued", "end cancelled"]
    again = ["status queued", "status running"] * context.settings.max_attempts
    assert types(streamed(http, lost)) == [*again, "end failed"]
    assert streamed(http, lost)[-1]["data"] == status("failed", "error")


def test_range_tests_have_events_too(http: FlaskClient, context: Context) -> None:
    test = create_range_test(http)
    assert finish(context, claimed(context, test["id"]))

    answer = http.get(test["urls"]["events"])

    assert types(events_of(answer.text)) == ["status queued", "status running", "end succeeded"]
    assert http.get(f"/v1/fits/{test['id']}/events").status_code == 404


def test_an_unknown_fit_has_none_and_a_deleted_one_none_any_more(
    http: FlaskClient, context: Context
) -> None:
    fit_id = eventful(http, context)
    http.delete(f"/v1/fits/{fit_id}")

    assert http.get(f"/v1/fits/{fit_id}/events").status_code == 410
    assert http.get("/v1/fits/fit_none/events").status_code == 404


@pytest.mark.parametrize("given", ["", "x", "-1", "1.5", "1" * 17, "²"])
def test_an_id_that_is_none_is_refused(http: FlaskClient, given: str) -> None:
    fit_id = create_fit(http)["id"]

    answer = http.get(
        f"/v1/fits/{fit_id}/events", headers={"Last-Event-ID": given.encode().decode("latin-1")}
    )

    assert answer.status_code == 422
    assert answer.get_json()["errors"][0]["code"] == "invalid_event_id"


def test_another_form_is_refused(http: FlaskClient) -> None:
    fit_id = create_fit(http)["id"]

    assert http.get(f"/v1/fits/{fit_id}/events", headers={"Accept": "text/csv"}).status_code == 406


@hypothesis_settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(moves=st.lists(st.sampled_from(MOVES), min_size=1))
def test_whatever_happens_ids_ascend_and_resuming_gives_the_rest(
    http: FlaskClient, context: Context, moves: list[str]
) -> None:
    # given a fit, and a client that keeps what it hears
    fit_id = create_fit(http)["id"]
    claim: Claim | None = None
    heard: list[dict[str, Any]] = []

    # when it goes through any life, and the client comes again after each move
    for move in moves:
        if move == "run" and claim is None:
            claim = claim_one(context, fit_id, "worker")
        elif move == "tell" and claim is not None:
            context.events.tell(fit_id, [("progress", PROGRESS)])
        elif move == "drain" and claim is not None:
            lifecycle.requeue(context, claim)
            claim = None
        elif move == "lose":
            expire(context)
            claim = None
        elif move == "cancel":
            http.post(f"/v1/fits/{fit_id}/cancel")
        elif move == "flush":
            flush(context)
        after = heard[-1]["id"] if heard else 0
        heard += listed(http, fit_id, **{"Last-Event-ID": str(after)})

    # then its ids ascend, and nothing comes after an end
    ids = [one["id"] for one in heard]
    assert ids == sorted(set(ids))
    assert "end" not in [one["type"] for one in heard[:-1]]
    if "flush" not in moves:
        assert heard == listed(http, fit_id)


def test_a_tale_has_bounds(context: Context) -> None:
    for _ in range(12):
        context.events.tell("fit_x", [("progress", PROGRESS)] * 1_000)
    context.events.publish("fit_x", "end", {})

    with redis.Redis.from_url(context.settings.redis_address) as client:
        keys = list(client.scan_iter())
        assert len(keys) == 2
        assert all(0 < client.ttl(key) <= 86_400 for key in keys)
    told = context.events.hear("fit_x", after=0, seconds=0)
    assert 10_000 <= len(told) < 10_200
