"""A request that comes again under its key makes nothing new."""

import io
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from service import idempotency
from service.api import create_app
from service.context import Context
from service.database.schema import idempotency_keys
from service.settings import Settings
from tests.service.api.documented import operations
from tests.service.api.resources import COLUMNS, create_dataset
from tests.service.claiming import claim_one, finish_one

FIT = {"dataset": {"columns": COLUMNS}, "target": "y", "steps": 3}
RANGE_TEST = FIT | {"num_iter": 5}
CREATING = [
    ("/v1/datasets", {"columns": COLUMNS}),
    ("/v1/fits", FIT),
    ("/v1/lr-range-tests", RANGE_TEST),
    ("/v1/batches", {"fits": [FIT, FIT | {"steps": 4}]}),
]
# What is posted and makes nothing that stays.
MAKES_NOTHING = {
    "cancelBatch", "cancelFit", "cancelLrRangeTest", "checkFit", "createEvaluation",
    "createGradients", "createPredictions", "validateFit",
}  # fmt: skip


def post(http: FlaskClient, path: str, body: Any, key: str | None, **headers: str) -> TestResponse:
    named = {} if key is None else {"Idempotency-Key": key}
    return http.post(path, json=body, headers=named | headers)


def n_listed(http: FlaskClient, path: str) -> int:
    return len(http.get(path).get_json()["data"])


def test_whatever_makes_something_takes_a_key() -> None:
    posts = [(path, op) for path, method, op in operations() if method == "post"]

    with_key = [
        (path, op["operationId"])
        for path, op in posts
        if "Idempotency-Key" in {parameter["name"] for parameter in op["parameters"]}
    ]

    # then each is tried here, and so is what says where the thing that it made is
    assert {path for path, _ in with_key} == {path for path, _ in CREATING}
    made = {
        path
        for path, op in posts
        if any("Location" in answer["headers"] for answer in op["responses"].values())
    }
    assert made == {path for path, _ in CREATING}
    others = {op["operationId"] for _, op in posts} - {name for _, name in with_key}
    assert others == MAKES_NOTHING


@pytest.mark.parametrize(("path", "body"), CREATING)
def test_the_first_answer_comes_again(http: FlaskClient, path: str, body: Any) -> None:
    first = post(http, path, body, "key-1")

    again = post(http, path, body, "key-1")

    # then it is the same to the byte, and says that it is
    assert (again.status_code, again.data) == (first.status_code, first.data)
    for name in ("Location", "Content-Type", "Retry-After"):
        assert again.headers.get(name) == first.headers.get(name)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers
    assert n_listed(http, path) == 1


def test_a_key_is_the_same_with_and_without_quotes(http: FlaskClient) -> None:
    first = post(http, "/v1/fits", FIT, '"key-1"')

    again = post(http, "/v1/fits", FIT, "key-1")

    assert again.data == first.data


def test_other_keys_and_none_make_other_things(http: FlaskClient) -> None:
    ids = {post(http, "/v1/fits", FIT, key).get_json()["id"] for key in ("a", "b", None, None)}

    assert len(ids) == 4


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/fits", FIT | {"steps": 4}),
        ("/v1/datasets", {"columns": COLUMNS}),
        ("/v1/batches", {"fits": [FIT]}),
    ],
)
def test_another_request_under_the_key_is_refused(http: FlaskClient, path: str, body: Any) -> None:
    post(http, "/v1/fits", FIT, "key-1")

    answer = post(http, path, body, "key-1")

    assert (answer.status_code, answer.get_json()["code"]) == (422, "idempotency_key_reused")
    assert n_listed(http, "/v1/fits") == 1


def test_a_refused_request_leaves_its_key_free(http: FlaskClient) -> None:
    # given a body that is mended
    assert post(http, "/v1/fits", FIT | {"steps": 0}, "key-1").status_code == 422
    assert post(http, "/v1/fits", FIT | {"target": "z"}, "key-1").status_code == 422

    assert post(http, "/v1/fits", FIT, "key-1").status_code == 202


@pytest.mark.parametrize("key", ["", '""', "with space", "é", "x" * 256])
def test_a_key_that_is_none_is_refused(http: FlaskClient, key: str) -> None:
    answer = post(http, "/v1/fits", FIT, key)

    assert answer.status_code == 422
    assert answer.get_json()["errors"][0]["code"] == "invalid_idempotency_key"
    assert n_listed(http, "/v1/fits") == 0


def test_an_upload_has_a_key_too(http: FlaskClient) -> None:
    def upload(text: str) -> TestResponse:
        headers = {"Idempotency-Key": "key-1", "Content-Type": "text/csv"}
        return http.post("/v1/datasets", data=text, headers=headers)

    first = upload("x,y\n1,2\n")

    assert upload("x,y\n1,2\n").data == first.data
    assert upload("x,y\n1,3\n").get_json()["code"] == "idempotency_key_reused"


def test_a_part_is_known_again_whatever_its_boundary(http: FlaskClient) -> None:
    def upload(text: str, name: str = "a.csv", media_type: str = "text/csv") -> TestResponse:
        # The client draws a boundary for each request.
        part = {"file": (io.BytesIO(text.encode()), name, media_type)}
        headers = {"Idempotency-Key": "key-1"}
        return http.post("/v1/datasets", data=part, headers=headers)

    first = upload("x,y\n1,2\n")
    again = upload("x,y\n1,2\n")

    assert (first.status_code, again.status_code) == (201, 201), again.text
    assert again.data == first.data
    assert again.headers["Idempotent-Replayed"] == "true"
    assert n_listed(http, "/v1/datasets") == 1
    others = [upload("x,y\n1,3\n"), upload("x,y\n1,2\n", name="b.csv")]
    others.append(upload("x,y\n1,2\n", media_type="application/x-ndjson"))
    assert {one.get_json()["code"] for one in others} == {"idempotency_key_reused"}


@pytest.mark.parametrize(("path", "body"), CREATING)
def test_of_many_at_the_same_moment_one_makes_something(app: Flask, path: str, body: Any) -> None:
    # given 16 requests under one key, side by side
    def send(_: int) -> TestResponse:
        return post(app.test_client(), path, body, "key-1")

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(send, range(16)))

    # then each got the one thing, or was told to come again
    taken = [answer for answer in answers if answer.status_code in (201, 202)]
    waiting = [answer for answer in answers if answer.status_code == 409]
    assert len(taken) + len(waiting) == 16
    assert len({answer.data for answer in taken}) == 1
    assert sum("Idempotent-Replayed" not in answer.headers for answer in taken) == 1
    for answer in waiting:
        assert answer.get_json()["code"] == "idempotency_key_in_flight"
        assert answer.headers["Retry-After"] == "1"
    assert n_listed(app.test_client(), path) == 1
    # nor is there a table of one that lost
    assert n_listed(app.test_client(), "/v1/datasets") == 1


def test_while_the_first_waits_the_second_is_told_so(app: Flask, context: Context) -> None:
    with ThreadPoolExecutor(1) as pool:
        # given a request that waits for its fit's end
        first = pool.submit(post, app.test_client(), "/v1/fits", FIT, "key-1", Prefer="wait=20")
        fit_id = None
        while fit_id is None:
            listed = app.test_client().get("/v1/fits").get_json()["data"]
            fit_id = listed[0]["id"] if listed else None

        # when it comes again meanwhile
        second = post(app.test_client(), "/v1/fits", FIT, "key-1", Prefer="wait=20")

        # then it is not answered; after the end it gets what the first got
        assert second.status_code == 409
        claim = claim_one(context, fit_id, "worker")
        assert claim is not None
        assert finish_one(context, claim, status="failed", stop_reason="error", result=None)
        answer = first.result()
        assert (answer.status_code, answer.get_json()["status"]) == (200, "failed")
    third = post(app.test_client(), "/v1/fits", FIT, "key-1", Prefer="wait=20")
    assert (third.status_code, third.data) == (200, answer.data)
    assert third.headers["Preference-Applied"] == "wait=20"


@pytest.mark.parametrize(("path", "body"), CREATING)
def test_an_answer_that_was_lost_is_made_again(
    http: FlaskClient, context: Context, path: str, body: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a process that died between the commit and its answer
    made = post(http, path, body, "key-1").get_json()["id"]
    with context.database.write() as connection:
        connection.execute(idempotency_keys.update().values(status=None, headers=None, body=None))
    assert post(http, path, body, "key-1").status_code == 409

    # when its time to answer is over
    now = time.time()
    monkeypatch.setattr("time.time", lambda: now + 100)
    again = post(http, path, body, "key-1")

    # then the thing is shown, and nothing made
    assert (again.status_code, again.get_json()["id"]) == (201 if "data" in path else 202, made)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Location"].endswith(f"{path}/{made}")
    assert post(http, path, body, "key-1").data == again.data
    assert n_listed(http, path) == 1


def test_keys_outlive_the_process(http: FlaskClient, settings: Settings) -> None:
    first = post(http, "/v1/fits", FIT, "key-1")

    restarted = create_app(settings)

    assert post(restarted.test_client(), "/v1/fits", FIT, "key-1").data == first.data
    restarted.extensions["thalweg"].close()


def test_a_day_later_the_key_is_free(
    http: FlaskClient, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = post(http, "/v1/fits", FIT, "key-1").get_json()["id"]
    post(http, "/v1/fits", FIT, "key-2")
    now = time.time()
    monkeypatch.setattr("time.time", lambda: now + 24 * 3600 + 1)

    # then a request under it is a new one, and the sweeper drops the others
    second = post(http, "/v1/fits", FIT, "key-1").get_json()["id"]
    assert second != first
    assert idempotency.forget_old(context, now + 24 * 3600 + 1) == 1
    assert idempotency.forget_old(context, now + 24 * 3600 + 1) == 0


def test_a_fit_that_is_reused_has_a_key_too(http: FlaskClient, context: Context) -> None:
    # given a success
    dataset = create_dataset(http)["id"]
    fit = {"dataset": dataset, "target": "y", "steps": 3, "reuse": True}
    claim = claim_one(context, post(http, "/v1/fits", fit, None).get_json()["id"], "worker")
    assert claim is not None
    assert finish_one(
        context, claim, status="succeeded", stop_reason="completed", result={"final_loss": 1.0}
    )

    first = post(http, "/v1/fits", fit, "key-1")
    again = post(http, "/v1/fits", fit, "key-1")

    assert first.get_json()["id"] == claim.fit_id
    assert again.data == first.data
    assert again.headers["Idempotent-Replayed"] == "true"
