"""Keys at the edge: who may do what, and that owners never meet."""

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from service import keys
from service.api import create_app
from service.api.openapi import document
from service.context import Context
from service.database import Database
from service.database.schema import metadata
from service.errors import InvalidInput, NotFound
from service.keys import create_key, list_keys, revoke_key
from service.limits import Limits
from service.settings import Settings
from tests.service.api.test_idempotency import FIT
from tests.service.api.test_problems import problem

READ, WRITE = ["read"], ["read", "write"]
PUBLIC = {"/livez", "/readyz"}


@pytest.fixture
def key(context: Context) -> Callable[..., dict[str, str]]:
    """Make a key; the headers that bring it."""

    def make(owner: str = "ada", scopes: list[str] = WRITE, **limits: Any) -> dict[str, str]:
        made = create_key(context.database, owner, scopes, Limits(**limits))
        return {"Authorization": f"Bearer {made['key']}"}

    return make


def fit_of(http: FlaskClient, headers: dict[str, str], **changes: Any) -> str:
    answer = http.post("/v1/fits", json=FIT | changes, headers=headers)
    assert answer.status_code == 202, answer.text
    fit_id: str = answer.get_json()["id"]
    return fit_id


def operations(app: Flask) -> Iterator[tuple[str, str]]:
    """Every operation that the document names: its method and path, one of its forms filled in."""
    for path, methods in document(app)["paths"].items():
        for method, described in methods.items():
            forms = {
                one["name"]: one["schema"]["enum"][0]
                for one in described["parameters"]
                if one["in"] == "path" and "enum" in one["schema"]
            }
            yield method, re.sub(r"{(\w+)}", lambda name: forms.get(name[1], name[0]), path)  # noqa: B023


def called(http: FlaskClient, method: str, path: str, **request: Any) -> TestResponse:
    given: dict[str, Any] | None = None if method == "get" else {}
    return http.open(path, method=method.upper(), json=given, **request)


def test_the_service_is_open_until_there_is_a_key(http: FlaskClient) -> None:
    assert http.get("/v1/fits").status_code == 200


def test_with_a_key_every_operation_but_the_public_ones_asks_for_one(
    app: Flask, http: FlaskClient, key: Callable[..., dict[str, str]]
) -> None:
    key()

    for method, path in operations(app):
        answer = called(http, method, path)
        if path in PUBLIC:
            assert answer.status_code in {200, 503}
            continue
        assert answer.status_code == 401, (method, path)
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert answer.get_json()["code"] == "unauthorized"


@pytest.mark.parametrize(
    "given", ["", "Bearer", "Bearer ", "Bearer thalweg_wrong", "Basic YTpi", "thalweg_x"]
)
def test_what_is_no_key_is_401(
    http: FlaskClient, key: Callable[..., dict[str, str]], given: str
) -> None:
    key()

    problem(http.get("/v1/fits", headers={"Authorization": given}), 401)


def test_a_reader_changes_nothing(
    app: Flask, http: FlaskClient, key: Callable[..., dict[str, str]]
) -> None:
    reader = key(scopes=READ)

    assert http.get("/v1/fits", headers=reader).status_code == 200
    for method, path in operations(app):
        if method != "get" and path not in PUBLIC:
            answer = called(http, method, path, headers=reader)
            assert (answer.status_code, answer.get_json()["code"]) == (403, "forbidden")


def test_the_scheme_is_read_in_any_case(
    http: FlaskClient, key: Callable[..., dict[str, str]]
) -> None:
    lower = key()["Authorization"].replace("Bearer", "bearer")

    assert http.get("/v1/fits", headers={"Authorization": lower}).status_code == 200


def test_idempotency_keys_are_an_owners_own(
    http: FlaskClient, key: Callable[..., dict[str, str]]
) -> None:
    once = {"Idempotency-Key": "homework"}

    ids = {fit_of(http, key(owner) | once) for owner in ("ada", "bob")}

    assert len(ids) == 2


def test_two_keys_of_an_owner_see_the_same(
    http: FlaskClient, key: Callable[..., dict[str, str]]
) -> None:
    first, second = key("ada"), key("ada", READ)
    fit = fit_of(http, first)

    assert http.get(f"/v1/fits/{fit}", headers=second).status_code == 200


def test_a_revoked_key_holds_for_seconds_at_most(
    http: FlaskClient,
    context: Context,
    key: Callable[..., dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # given a key that this process has just seen
    ada = key("ada")
    assert http.get("/v1/fits", headers=ada).status_code == 200
    (made,) = list_keys(context.database)

    revoke_key(context.database, made["id"])

    later = time.monotonic() + 10
    monkeypatch.setattr("service.keys.time.monotonic", lambda: later)
    problem(http.get("/v1/fits", headers=ada), 401)
    # nor is the service open again
    problem(http.get("/v1/fits"), 401)
    with pytest.raises(NotFound):
        revoke_key(context.database, made["id"])


def test_the_first_key_closes_an_open_service_within_seconds(
    http: FlaskClient, key: Callable[..., dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert http.get("/v1/fits").status_code == 200
    key()
    later = time.monotonic() + 10
    monkeypatch.setattr("service.keys.time.monotonic", lambda: later)

    problem(http.get("/v1/fits"), 401)


def test_a_key_is_kept_nowhere(context: Context, key: Callable[..., dict[str, str]]) -> None:
    text = key()["Authorization"].removeprefix("Bearer ")

    kept = everything_in(context.database)
    assert text not in kept
    assert keys.digest_of(text) in kept


def everything_in(database: Database) -> str:
    """What every row of every table holds, as text."""
    with database.read() as connection:
        return str([connection.execute(table.select()).all() for table in metadata.sorted_tables])


@pytest.mark.parametrize(
    ("owner", "scopes"),
    [("", WRITE), (" ", WRITE), ("a" * 101, WRITE), ("open", WRITE), ("ada", []), ("a", ["x"])],
)
def test_a_key_of_nobody_or_for_nothing_is_refused(
    context: Context, owner: str, scopes: list[str]
) -> None:
    with pytest.raises(InvalidInput):
        create_key(context.database, owner, scopes, Limits())


def test_a_rate_is_counted_by_owner(http: FlaskClient, key: Callable[..., dict[str, str]]) -> None:
    ada, bob = key("ada", rate_limit="3/minute"), key("bob", rate_limit="3/minute")

    answers = [http.get("/v1/fits", headers=ada) for _ in range(4)]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[0].headers["RateLimit-Policy"] == '"requests";q=3;w=60'
    assert answers[0].headers["RateLimit"].startswith('"requests";r=2;t=')
    assert answers[3].headers["RateLimit"].startswith('"requests";r=0;t=')
    assert answers[3].get_json()["code"] == "rate_limited"
    assert 1 <= int(answers[3].headers["Retry-After"]) <= 60
    assert http.get("/v1/fits", headers=bob).status_code == 200
    assert http.get("/livez", headers=ada).status_code == 200


def test_keys_of_one_owner_share_a_rate_whatever_their_own_is(
    http: FlaskClient, key: Callable[..., dict[str, str]]
) -> None:
    few, many = key("ada", rate_limit="3/minute"), key("ada", rate_limit="5/60 seconds")
    bob = key("bob", rate_limit="3/minute")

    answers = [http.get("/v1/fits", headers=which) for which in (many, many, few, few, many)]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 200]
    assert answers[2].headers["RateLimit"].startswith('"requests";r=0;t=')
    assert http.get("/v1/fits", headers=many).status_code == 200
    assert http.get("/v1/fits", headers=many).status_code == 429
    assert http.get("/v1/fits", headers=bob).status_code == 200


def test_the_setting_holds_for_everybody(settings: Settings, context: Context) -> None:
    limited = create_app(settings.model_copy(update={"rate_limit": "2/minute"}))
    http = limited.test_client()

    assert [http.get("/v1/fits").status_code for _ in range(3)] == [200, 200, 429]
    assert {http.get("/readyz").status_code for _ in range(3)} == {200}
    limited.extensions["thalweg"].close()


def test_without_redis_rates_are_counted_by_the_process(
    settings: Settings, context: Context
) -> None:
    away = {"rate_limit": "2/minute", "redis_url": "redis://127.0.0.1:1"}
    alone = create_app(settings.model_copy(update=away))
    http = alone.test_client()

    assert [http.get("/v1/datasets").status_code for _ in range(3)] == [200, 200, 429]
    alone.extensions["thalweg"].close()


def test_an_owners_queue_is_bounded(http: FlaskClient, key: Callable[..., dict[str, str]]) -> None:
    ada, bob = key("ada", max_owner_queued_fits=2), key("bob")
    for _ in range(2):
        fit_of(http, ada)

    answer = http.post("/v1/fits", json=FIT, headers=ada)

    assert (answer.status_code, answer.get_json()["code"]) == (429, "quota_exceeded")
    assert answer.headers["Retry-After"]
    assert answer.headers["RateLimit-Policy"] == '"queued-fits";q=2'
    assert answer.headers["RateLimit"] == '"queued-fits";r=0'
    assert len(http.get("/v1/datasets", headers=ada).get_json()["data"]) == 2
    fit_of(http, bob)


def test_an_exhausted_quota_is_told_beside_the_rate(
    http: FlaskClient, key: Callable[..., dict[str, str]]
) -> None:
    # given a queue with room for one more, and a batch of two
    ada = key("ada", rate_limit="9/minute", max_owner_queued_fits=2)
    fit_of(http, ada)

    answer = http.post("/v1/batches", json={"fits": [FIT, FIT]}, headers=ada)

    assert answer.status_code == 429
    assert answer.headers["RateLimit-Policy"] == '"requests";q=9;w=60, "queued-fits";q=2'
    rate, quota = answer.headers["RateLimit"].split(", ")
    assert rate.startswith('"requests";r=7;t=')
    assert quota == '"queued-fits";r=1'
    assert "queued-fits" not in http.get("/v1/fits", headers=ada).headers["RateLimit"]


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        ({"max_steps": 2}, "too_many_steps"),
        ({"max_parameters": 1}, "too_many_parameters"),
        ({"max_rows": 1}, "too_many_rows"),
    ],
)
def test_a_keys_own_limits(
    http: FlaskClient, key: Callable[..., dict[str, str]], limits: dict[str, Any], code: str
) -> None:
    answer = http.post("/v1/fits", json=FIT, headers=key(**limits))

    assert answer.status_code == 422
    assert answer.get_json()["errors"][0]["code"] == code


def test_an_owners_bytes_are_bounded(http: FlaskClient, key: Callable[..., dict[str, str]]) -> None:
    table = {"columns": {"x": [float(i) for i in range(1_000)]}}
    ada = key("ada", max_owner_stored_bytes=12_000)
    first = http.post("/v1/datasets", json=table, headers=ada)
    assert first.status_code == 201

    other = {"columns": {"x": [float(-i) for i in range(1_000)]}}
    answer = http.post("/v1/datasets", json=other, headers=ada)

    assert (answer.status_code, answer.get_json()["code"]) == (429, "quota_exceeded")
    left = 12_000 - first.get_json()["size_bytes"]
    assert answer.headers["RateLimit-Policy"] == '"stored-bytes";q=12000;qu="content-bytes"'
    assert answer.headers["RateLimit"] == f'"stored-bytes";r={left}'
    assert http.delete(f"/v1/datasets/{first.get_json()['id']}", headers=ada).status_code == 204
    assert http.post("/v1/datasets", json=other, headers=ada).status_code == 201


def test_the_tables_of_one_batch_are_bounded_together(
    http: FlaskClient, key: Callable[..., dict[str, str]]
) -> None:
    # given tables each of which has room alone, and each of which is named twice
    ada = key("ada", max_owner_stored_bytes=30_000)
    columns = [{"x": [i + k / 8 for i in range(1_000)], "y": [0.5] * 1_000} for k in range(4)]
    bodies = [FIT | {"dataset": {"columns": one}} for one in columns * 2]

    answer = http.post("/v1/batches", json={"fits": bodies}, headers=ada)

    assert (answer.status_code, answer.get_json(force=True)["code"]) == (429, "quota_exceeded")
    assert http.get("/v1/datasets", headers=ada).get_json()["data"] == []
    one_table = {"fits": [bodies[0], bodies[4]]}
    assert http.post("/v1/batches", json=one_table, headers=ada).status_code == 202


@pytest.mark.parametrize("limits", [{"rate_limit": "often"}, {"max_steps": 0}, {"max_rows": -1}])
def test_a_limit_that_is_none_is_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        Limits(**limits)
