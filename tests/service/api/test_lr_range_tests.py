"""Learning-rate range tests over HTTP: headers, links, states, refusals."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from service.context import Context
from service.schemas.answers.lr_range import LrRangeTest, LrRangeTestList
from tests.service.api.resources import COLUMNS, create_fit
from tests.service.claiming import claim_one, finish_one
from tests.service.later import later

URL = "/v1/lr-range-tests"
CURVE = {
    "lr": [0.1, 0.2],
    "loss": [1.0, 2.0],
    "raw_loss": [1.0, 3.0],
    "suggestion": {"steepest": 0.1, "valley": 0.1},
    "reason": None,
    "stop_reason": "diverged",
}


def create(http: FlaskClient, **changes: Any) -> dict[str, Any]:
    answer = http.post(URL, json={"dataset": {"columns": COLUMNS}, "target": "y"} | changes)
    assert answer.status_code == 202, answer.text
    test: dict[str, Any] = answer.get_json()
    return test


def end(context: Context, test_id: str, **changes: Any) -> None:
    """What a worker does at the end of a range test."""
    claim = claim_one(context, test_id, "worker")
    assert claim is not None
    finish_one(context, claim, status="succeeded", stop_reason="diverged", result=CURVE | changes)


def test_a_queued_test_says_where_it_is_and_when_to_look(http: FlaskClient) -> None:
    answer = http.post(URL, json={"dataset": {"columns": COLUMNS}, "target": "y", "tags": ["a"]})
    test = answer.get_json()

    LrRangeTest.model_validate(test)
    assert answer.status_code == 202
    assert answer.headers["Location"] == test["urls"]["self"]
    assert test["urls"] == {
        "self": f"http://localhost{URL}/{test['id']}",
        "events": f"http://localhost{URL}/{test['id']}/events",
        "cancel": f"http://localhost{URL}/{test['id']}/cancel",
    }
    assert answer.headers["Retry-After"] == "1"
    assert (test["object"], test["status"]) == ("lr_range_test", "queued")
    assert (test["result"], test["plots"]) == (None, {})
    assert http.get(test["urls"]["self"]).get_json() == test


def test_an_ended_test_has_its_curve_and_its_plot(http: FlaskClient, context: Context) -> None:
    test = create(http)
    end(context, test["id"])

    ended = http.get(f"{URL}/{test['id']}").get_json()

    LrRangeTest.model_validate(ended)
    assert (ended["status"], ended["stop_reason"]) == ("succeeded", "diverged")
    assert ended["result"] == CURVE
    assert ended["plots"] == {"lr": f"http://localhost{URL}/{test['id']}/plots/lr.png"}


def test_a_curve_without_points_has_no_plot(http: FlaskClient, context: Context) -> None:
    test = create(http)
    end(context, test["id"], lr=[], loss=[], raw_loss=[], suggestion=None, reason="none")

    assert http.get(f"{URL}/{test['id']}").get_json()["plots"] == {}
    answer = http.get(f"{URL}/{test['id']}/plots/lr.png")
    assert (answer.status_code, answer.get_json()["code"]) == (404, "plot_not_applicable")


def test_a_plot_of_another_kind_is_told_with_the_one_there_is(
    http: FlaskClient, context: Context
) -> None:
    test = create(http)
    early = http.get(f"{URL}/{test['id']}/plots/lr.png")
    end(context, test["id"])

    answer = http.get(f"{URL}/{test['id']}/plots/loss.svg")

    assert early.status_code == answer.status_code == 404
    assert answer.get_json()["code"] == "plot_not_applicable"
    assert "it has: lr" in answer.get_json()["detail"]
    assert http.get(f"{URL}/{test['id']}/plots/lr.png?width=1").status_code == 422
    assert http.get(f"{URL}/{test['id']}/plots/lr.gif").status_code == 404


def test_a_wait_ends_with_the_test(http: FlaskClient, context: Context) -> None:
    test = create(http)

    with later(0.2, end, context, test["id"]):
        answer = http.get(f"{URL}/{test['id']}", headers={"Prefer": "wait=999"})

    assert answer.get_json()["status"] == "succeeded"
    assert answer.headers["Preference-Applied"] == "wait=60"


def test_a_post_that_waits_too_short_answers_202(http: FlaskClient) -> None:
    body = {"dataset": {"columns": COLUMNS}, "target": "y"}

    answer = http.post(URL, json=body, headers={"Prefer": "wait=1"})

    assert answer.status_code == 202
    assert answer.headers["Preference-Applied"] == "wait=1"


def test_an_unchanged_test_is_304(http: FlaskClient, context: Context) -> None:
    test = create(http)
    tag = {"If-None-Match": http.get(f"{URL}/{test['id']}").headers["ETag"]}

    assert http.get(f"{URL}/{test['id']}", headers=tag).status_code == 304
    end(context, test["id"])
    assert http.get(f"{URL}/{test['id']}", headers=tag).status_code == 200


def test_tests_are_listed_filtered_and_looked_up(http: FlaskClient) -> None:
    fit = create_fit(http, tags=["a"])
    first, second = create(http, tags=["a"]), create(http, metadata={"course": "ml"})

    def ids(query: str = "") -> list[str]:
        page = http.get(URL + query).get_json()
        LrRangeTestList.model_validate(page)
        return [test["id"] for test in page["data"]]

    assert ids() == [second["id"], first["id"]]
    assert ids("?tag=a") == [first["id"]]
    assert ids("?metadata[course]=ml&status=queued") == [second["id"]]
    assert ids("?status=running") == []
    assert ids(f"?ids={first['id']},{second['id']}") == [first["id"], second["id"]]
    assert [one["id"] for one in http.get("/v1/fits").get_json()["data"]] == [fit["id"]]
    link = http.get(f"{URL}?limit=1").headers["Link"]
    assert link == f'<http://localhost{URL}?limit=1&after={second["id"]}>; rel="next"'


def test_a_test_is_cancelled_and_deleted(http: FlaskClient) -> None:
    test = create(http)
    early = http.delete(test["urls"]["self"])

    cancelled = http.post(test["urls"]["cancel"])
    again = http.post(test["urls"]["cancel"])

    assert early.status_code == 409
    assert (cancelled.status_code, cancelled.get_json()["status"]) == (202, "cancelled")
    assert (again.status_code, again.get_json()["code"]) == (409, "conflict")
    assert http.delete(test["urls"]["self"]).status_code == 204
    assert http.get(test["urls"]["self"]).status_code == 410


@pytest.mark.parametrize(
    "path",
    [
        "", "/weights.json", "/weights.onnx", "/history.json", "/trajectory.json",
        "/plots/loss.png", "/plots/lr.png",
    ],
)  # fmt: skip
def test_no_fit_is_a_range_test_nor_the_other_way_round(
    http: FlaskClient, context: Context, path: str
) -> None:
    test, fit = create(http), create_fit(http)
    end(context, test["id"])

    assert http.get(f"/v1/fits/{test['id']}{path}").status_code == 404
    assert http.get(f"{URL}/{fit['id']}{path}").status_code == 404


def test_every_verb_knows_its_kind(http: FlaskClient) -> None:
    test, fit = create(http), create_fit(http)

    for path in (f"/v1/fits/{test['id']}", f"{URL}/{fit['id']}"):
        assert http.post(f"{path}/cancel").status_code == 404
        assert http.delete(path).status_code == 404
    assert http.get(f"/v1/fits?ids={test['id']}").status_code == 404
    assert http.get(f"{URL}?ids={fit['id']}").status_code == 404


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"num_iter": 1}, "/num_iter"),
        ({"num_iter": 10_000_001}, "/num_iter"),
        ({"start_lr": 0}, "/start_lr"),
        ({"end_lr": 1e-8}, "/end_lr"),
        ({"start_lr": 11}, "/start_lr"),
        ({"end_lr": 1e30}, "/end_lr"),
        ({"step_mode": "log"}, "/step_mode"),
        ({"smooth_f": 1.0}, "/smooth_f"),
        ({"diverge_th": -1}, "/diverge_th"),
        ({"diverge": 5}, "/diverge"),
        ({"optimizer": {"kind": "sgd", "lr": "0.1"}}, "/optimizer/lr"),
        ({"init": {"fit": "fit_x", "optimizer_state": True}}, "/init/optimizer_state"),
        ({"target": "z"}, "/target"),
    ],
)
def test_a_test_that_cannot_be_made_is_refused_with_its_place(
    http: FlaskClient, changes: dict[str, Any], pointer: str
) -> None:
    body = {"dataset": {"columns": COLUMNS}, "target": "y"} | changes

    answer = http.post(URL, json=body)

    assert answer.status_code == 422
    assert answer.content_type == "application/problem+json"
    assert [place["pointer"] for place in answer.get_json()["errors"]] == [pointer]
    assert http.get("/v1/datasets").get_json()["data"] == []


def test_a_fit_has_no_rates_to_try(http: FlaskClient) -> None:
    body = {"dataset": {"columns": COLUMNS}, "target": "y", "steps": 1, "num_iter": 5}

    answer = http.post("/v1/fits", json=body)

    assert answer.status_code == 422
    assert answer.get_json()["errors"][0]["pointer"] == "/num_iter"


def test_an_ended_fits_spec_is_taken_as_a_range_tests(http: FlaskClient, context: Context) -> None:
    fit = create_fit(http, scheduler={"kind": "one_cycle", "max_lr": 1, "interval": "step"},
                     optimizer={"kind": "sgd", "lr": 5, "momentum": 0.9})  # fmt: skip

    test = http.post(URL, json=fit["spec"]).get_json()

    assert test["progress"]["total_steps"] == 100
    assert {name: test["spec"][name] for name in fit["spec"]} == fit["spec"]
    again = http.post(URL, json=test["spec"]).get_json()
    assert again["spec"] == test["spec"]
