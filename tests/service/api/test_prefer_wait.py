"""Requests that wait for a fit: `Prefer: wait`."""

import threading

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from service.api import waiting
from service.context import Context
from service.errors import Unavailable
from service.keys import create_key
from service.limits import Limits
from service.places import Places
from tests.service.api.resources import COLUMNS, create_fit, end
from tests.service.later import later


@pytest.mark.parametrize("prefer", ["wait=1", "respond-async, wait=1", 'Wait="1"', "wait = 1;x=y"])
def test_a_wait_that_is_too_short_answers_202(http: FlaskClient, prefer: str) -> None:
    body = {"dataset": {"columns": COLUMNS}, "target": "y", "steps": 3}
    answer = http.post("/v1/fits", json=body, headers={"Prefer": prefer})

    assert answer.status_code == 202
    assert answer.headers["Preference-Applied"] == "wait=1"
    assert answer.headers["Retry-After"]


def test_who_finds_no_place_to_wait_is_answered_at_once(
    http: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = Places(1, "waits", Unavailable)
    monkeypatch.setattr(waiting, "_places", places)
    wait = {"Prefer": "wait=1"}

    with places.taken(None):
        body = {"dataset": {"columns": COLUMNS}, "target": "y", "steps": 3}
        at_once = http.post("/v1/fits", json=body, headers=wait)
        shown = http.get(f"/v1/fits/{at_once.get_json()['id']}", headers=wait)
    waited = http.get(f"/v1/fits/{at_once.get_json()['id']}", headers=wait)

    assert at_once.status_code == 202
    for answer in (at_once, shown):
        assert "Preference-Applied" not in answer.headers
    assert waited.headers["Preference-Applied"] == "wait=1"


def test_an_owner_has_a_quarter_of_the_places_to_wait(
    http: FlaskClient, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given an owner who waits as often as they may
    places = Places(8, "waits", Unavailable)
    monkeypatch.setattr(waiting, "_places", places)
    ada, bob = (
        create_key(context.database, owner, ["read", "write"], Limits())["key"]
        for owner in ("ada", "bob")
    )
    body = {"dataset": {"columns": COLUMNS}, "target": "y", "steps": 3}

    def post(key: str) -> TestResponse:
        headers = {"Authorization": f"Bearer {key}", "Prefer": "wait=1"}
        return http.post("/v1/fits", json=body, headers=headers)

    with places.taken("ada"), places.taken("ada"):
        # then their next wait is answered at once, and no error; another owner still waits
        at_once, waited = post(ada), post(bob)
    afterwards = post(ada)

    assert [answer.status_code for answer in (at_once, waited, afterwards)] == [202] * 3
    assert "Preference-Applied" not in at_once.headers
    for answer in (waited, afterwards):
        assert answer.headers["Preference-Applied"] == "wait=1"


@pytest.mark.parametrize("prefer", ["wait", "wait=soon", "wait=-1", "wait=1.5", "await=9", "", ";"])
def test_a_preference_that_makes_no_sense_is_ignored(http: FlaskClient, prefer: str) -> None:
    body = {"dataset": {"columns": COLUMNS}, "target": "y", "steps": 3}
    answer = http.post("/v1/fits", json=body, headers={"Prefer": prefer})

    assert answer.status_code == 202
    assert "Preference-Applied" not in answer.headers


def test_a_wait_ends_with_the_fit(http: FlaskClient, context: Context) -> None:
    fit = create_fit(http)

    with later(0.2, end, context, fit["id"]):
        answer = http.get(f"/v1/fits/{fit['id']}", headers={"Prefer": "wait=999"})

    assert answer.get_json()["status"] == "succeeded"
    assert answer.headers["Preference-Applied"] == "wait=60"


def test_a_stopped_process_lets_waits_go(
    http: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = create_fit(http)
    flag = threading.Event()
    monkeypatch.setattr(waiting, "_draining", flag)
    threading.Timer(0.1, waiting.begin_drain).start()

    answer = http.get(f"/v1/fits/{fit['id']}", headers={"Prefer": "wait=60"})

    assert answer.get_json()["status"] == "queued"
