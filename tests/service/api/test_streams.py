"""Open event streams: how many, how long, and whose."""

import threading
from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient

from service import keys
from service.api import streams, waiting
from service.context import Context
from service.database import Database, DatabaseError
from service.keys import create_key, revoke_key
from service.limits import Limits
from service.settings import Settings
from tests.service.api.resources import create_fit
from tests.service.api.test_events import JSON, claimed, events_of, streamed, types
from tests.service.later import later
from tests.service.test_lifecycle import finish


@pytest.fixture
def undrained() -> Iterator[None]:
    yield
    waiting._draining.clear()


@pytest.mark.usefixtures("undrained")
def test_streams_close_when_the_process_is_stopped(http: FlaskClient, context: Context) -> None:
    fit_id = create_fit(http)["id"]
    threading.Timer(0.2, waiting.begin_drain).start()

    events = streamed(http, fit_id)

    assert types(events) == ["status queued"]
    waiting._draining.clear()
    assert finish(context, claimed(context, fit_id))
    assert types(streamed(http, fit_id, after=events[-1]["id"])) == [
        "status running", "end succeeded",
    ]  # fmt: skip


def test_a_silent_stream_is_kept_alive_by_comments(
    http: FlaskClient, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "_COMMENT_SECONDS", 1.0)
    fit_id = create_fit(http)["id"]
    claim = claimed(context, fit_id)

    with later(3, finish, context, claim):
        text = http.get(f"/v1/fits/{fit_id}/events").text

    assert "\n\n: still here\n\n" in text
    assert types(events_of(text)) == ["status queued", "status running", "end succeeded"]


def test_streams_are_bounded_and_leave_their_room_behind(http: FlaskClient) -> None:
    url = f"/v1/fits/{create_fit(http)['id']}/events"
    opened = [http.get(url) for _ in range(streams.MOST_STREAMS)]

    assert {answer.status_code for answer in opened} == {200}
    refused = http.get(url)
    beside = [http.get(url, headers=JSON), http.head(url), http.get("/livez")]

    assert (refused.status_code, refused.get_json()["code"]) == (503, "too_many_streams")
    assert int(refused.headers["Retry-After"]) > 0
    assert [answer.status_code for answer in beside] == [200, 200, 200]
    for answer in opened:
        answer.close()
    again = [http.get(url) for _ in range(streams.MOST_STREAMS)]
    assert {answer.status_code for answer in again} == {200}
    for answer in again:
        answer.close()


def keyed(context: Context, owner: str) -> tuple[str, dict[str, str]]:
    """A new key of the owner's: its id, and the headers that bring it."""
    made = create_key(context.database, owner, ["read", "write"], Limits())
    return made["id"], {"Authorization": f"Bearer {made['key']}"}


def stream_url(http: FlaskClient, headers: dict[str, str]) -> str:
    body = {"dataset": {"columns": {"x": [1, 2], "y": [1, 2]}}, "target": "y", "steps": 3}
    answer = http.post("/v1/fits", json=body, headers=headers)
    assert answer.status_code == 202, answer.text
    return f"/v1/fits/{answer.get_json()['id']}/events"


def test_an_owner_has_some_of_the_streams_and_others_the_rest(
    http: FlaskClient, context: Context
) -> None:
    # given an owner, with two keys, who has as many streams open as they may
    (_, ada), (_, other_of_ada), (_, bob) = (keyed(context, one) for one in ("ada", "ada", "bob"))
    url = stream_url(http, ada)
    opened = [http.get(url, headers=ada) for _ in range(32)]
    assert {answer.status_code for answer in opened} == {200}

    # then neither key opens one more, but all else is answered, and other owners have theirs
    for key in (ada, other_of_ada):
        refused = http.get(url, headers=key)
        assert (refused.status_code, refused.get_json()["code"]) == (429, "quota_exceeded")
        assert int(refused.headers["Retry-After"]) > 0
        assert refused.headers["RateLimit"] == '"event-streams";r=0'
    assert http.get(url, headers=ada | JSON).status_code == 200
    others = http.get(stream_url(http, bob), headers=bob)
    assert others.status_code == 200
    others.close()

    # and what is closed makes room
    opened.pop().close()
    opened.append(http.get(url, headers=ada))
    assert opened[-1].status_code == 200
    for answer in opened:
        answer.close()


class TestBoundedInTime:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        """Settings of short streams."""
        return settings.model_copy(update={"stream_seconds": 0.5})

    def test_a_stream_ends_in_time_and_its_client_goes_on(
        self, http: FlaskClient, context: Context
    ) -> None:
        # given a fit that runs for longer than a stream stays open
        fit_id = create_fit(http)["id"]
        claim = claimed(context, fit_id)

        # when a client comes again after each stream, with the last id it knows
        first = streamed(http, fit_id)
        context.events.tell(fit_id, [("progress", {"step": 1})])
        second = streamed(http, fit_id, after=first[-1]["id"])
        assert finish(context, claim)
        third = streamed(http, fit_id, after=second[-1]["id"])

        # then it has heard everything, once
        assert types(first) == ["status queued", "status running"]
        assert types(second) == ["progress"]
        assert types(third) == ["end succeeded"]

    def test_a_batchs_stream_does_too(self, http: FlaskClient) -> None:
        fit = {"dataset": {"columns": {"x": [1, 2], "y": [1, 2]}}, "target": "y", "steps": 3}
        batch = http.post("/v1/batches", json={"fits": [fit]}).get_json()

        assert types(events_of(http.get(batch["urls"]["events"]).text)) == ["status queued"]


def test_the_stream_of_a_revoked_key_ends(
    http: FlaskClient, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given two owners' streams of fits that do not end
    monkeypatch.setattr(keys, "_KNOWN_SECONDS", 0.2)
    (ada_id, ada), (_, bob) = keyed(context, "ada"), keyed(context, "bob")
    url, others_url = stream_url(http, ada), stream_url(http, bob)
    hers = http.get(url, headers=ada)
    his = http.get(others_url, headers=bob)

    # when one of the keys is revoked
    with later(0.5, revoke_key, context.database, ada_id):
        heard = hers.text

    # then its stream ends without an end, and is not opened again
    assert types(events_of(heard)) == ["status queued"]
    assert http.get(url, headers=ada).status_code == 401
    # and the other one goes on to its own
    http.post(others_url.replace("/events", "/cancel"), headers=bob)
    assert types(events_of(his.text)) == ["status queued", "end cancelled"]


def test_a_database_that_is_away_revokes_nothing(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = create_key(context.database, "ada", ["read"], Limits())
    ring = keys.KeyRing(context.database)
    away = keys.KeyRing(Database("postgresql+psycopg://127.0.0.1:1/none"))

    with pytest.raises(DatabaseError):
        away.principal(key["key"])
    assert ring.holds(key["key"])
    assert away.holds(key["key"])
    assert not ring.holds("thalweg_none")
    assert not ring.holds(None)
