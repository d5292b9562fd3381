"""Wrong input of every kind: the status, the code, and the place to mend."""

from typing import Any

import pytest
from flask.testing import FlaskClient

COLUMNS = {"x": [1, 2], "y": [1, 2]}
FIT = {"dataset": {"columns": COLUMNS}, "target": "y", "steps": 1}


def problem(answer: Any, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.content_type == "application/problem+json"
    body: dict[str, Any] = answer.get_json(force=True)
    assert body["status"] == status
    assert set(body) >= {"type", "title", "status", "detail", "instance", "code", "request_id"}
    assert body["request_id"] == answer.headers["X-Request-Id"]
    return body


def places(body: dict[str, Any]) -> list[tuple[str, str]]:
    return [(error["pointer"], error["code"]) for error in body["errors"]]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"optimizer": {"kind": "sgd", "learning_rate": 1}}, "/optimizer/learning_rate"),
        ({"optimizer": {"kind": "sgd", "lr": "0.1"}}, "/optimizer/lr"),
        ({"optimizer": {"kind": "adamm"}}, "/optimizer/kind"),
        ({"optimizer": {"kind": "sgd", "nesterov": True}}, "/optimizer"),
        ({"target": ["y", 1]}, "/target/1"),
        ({"target": "z"}, "/target"),
        ({"features": ["x", "nope"]}, "/features/1"),
        ({"dataset": {"columns": {"x": [1, None]}}}, "/dataset/columns/x/1"),
        ({"dataset": {"columns": {"x": [1, True]}}}, "/dataset/columns/x/1"),
        ({"dataset": {"columns": {"x": [1], "y": [1, 2]}}}, "/dataset/columns/x"),
        ({"init": {"weights": {"weight": [["a"]]}}}, "/init/weights/weight/0/0"),
        ({"init": {"weights": {"weight": [[1, 2]], "bias": [0]}}}, "/init/weights/weight"),
        ({"seed": {"shufle": 1}}, "/seed/shufle"),
        ({"steps": None}, ""),
        ({"epochs": 1}, ""),
        ({"m/n~": 1}, "/m~1n~0"),
    ],
)
def test_a_mistake_is_told_with_its_place(
    http: FlaskClient, changes: dict[str, Any], expected: str
) -> None:
    body = problem(http.post("/v1/fits", json=FIT | changes), 422)

    assert [pointer for pointer, _ in places(body)] == [expected]
    assert body["detail"]


def test_an_unknown_field_is_told_with_those_there_are(http: FlaskClient) -> None:
    close = problem(http.post("/v1/fits", json=FIT | {"step": 1}), 422)
    far = problem(http.post("/v1/fits", json=FIT | {"optimizer": {"kind": "sgd", "q": 1}}), 422)

    assert "did you mean 'steps'?" in close["detail"]
    assert "momentum" in far["detail"]
    assert places(close) == [("/step", "unknown_field")]


def test_many_mistakes_are_told_by_a_few(http: FlaskClient) -> None:
    many = {f"wrong{i}": 1 for i in range(100)}

    assert len(problem(http.post("/v1/fits", json=FIT | many), 422)["errors"]) == 20


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff", b'{"a": NaN}', b'{"a": 1e999}', b"[" * 100_000, b'{"a": "\\ud800"}'],
)
def test_a_body_that_is_no_json_is_malformed(http: FlaskClient, body: bytes) -> None:
    answer = http.post("/v1/fits", data=body, content_type="application/json")

    assert problem(answer, 400)["code"] == "malformed_body"


@pytest.mark.parametrize("body", ["[]", "1", '"text"', "null", "true"])
def test_json_that_is_no_object_is_refused(http: FlaskClient, body: str) -> None:
    answer = http.post("/v1/fits", data=body, content_type="application/json")

    assert places(problem(answer, 422)) == [("", "model_type")]


@pytest.mark.parametrize("path", ["/v1/fits", "/v1/datasets"])
@pytest.mark.parametrize("content_type", ["text/html", "application/xml", None])
def test_other_content_types_are_refused_with_those_taken(
    http: FlaskClient, path: str, content_type: str | None
) -> None:
    body = problem(http.post(path, data=b"{}", content_type=content_type), 415)

    assert "application/json" in body["detail"]


def test_an_encoded_body_is_refused(http: FlaskClient) -> None:
    answer = http.post("/v1/fits", json=FIT, headers={"Content-Encoding": "br"})

    assert "br" in problem(answer, 415)["detail"]


def test_a_table_is_refused_with_row_and_column(http: FlaskClient) -> None:
    answer = http.post("/v1/datasets", data=b"x,y\n1,2\n3,abc\n", content_type="text/csv")

    (error,) = problem(answer, 422)["errors"]
    assert (error["row"], error["column"], error["code"]) == (1, "y", "not_a_number")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/fits?limit=0",
        "/v1/fits?limit=1001",
        "/v1/fits?limit=ten",
        "/v1/fits?limit=1&limit=2",
        "/v1/fits?nope=1",
        "/v1/fits?status=done",
        "/v1/fits?created_after=yesterday",
        "/v1/fits?created_after=1",
        "/v1/fits?after=fit_1",
        "/v1/batches?after=page2",
        "/v1/fits?metadata=x",
        "/v1/fits?metadata[=x",
        "/v1/fits/fit_x?nope=1",
        "/v1/datasets?status=queued",
        "/v1/datasets/ds_x?nope=1",
    ],
)
def test_bad_query_parameters_are_refused(http: FlaskClient, path: str) -> None:
    assert "query parameter" in problem(http.get(path), 422)["detail"]


@pytest.mark.parametrize("name", ["metadata", "metadata[]", "metadata[a", "metadata[a][b]"])
def test_another_form_of_metadata_is_told_the_right_one(http: FlaskClient, name: str) -> None:
    detail = problem(http.get("/v1/fits", query_string={name: "x"}), 422)["detail"]

    assert detail == f"the query parameter {name!r}: write it as metadata[key]=value"


@pytest.mark.parametrize(
    "path",
    [
        "/v1/fits/fit_x",
        "/v1/fits/fit_x/history.json",
        "/v1/fits/fit_x/weights.npz",
        "/v1/fits/fit_x/plots/loss.png",
        "/v1/fits?ids=fit_x",
        "/v1/datasets/ds_x",
        "/nowhere",
        "/v1/fits/fit_x/weights.pickle",
    ],
)
def test_what_is_not_there_is_404(http: FlaskClient, path: str) -> None:
    assert problem(http.get(path), 404)["code"] == "not_found"


def test_where_there_is_nothing_the_documentation_is_named(http: FlaskClient) -> None:
    said = problem(http.get("/v1/fitz?limit=1"), 404)

    assert said["code"] == "not_found"
    assert (
        said["detail"]
        == "there is nothing at /v1/fitz; http://localhost/docs lists every operation"
    )


def test_a_fit_on_an_unknown_dataset_is_404_with_its_pointer(http: FlaskClient) -> None:
    body = problem(http.post("/v1/fits", json=FIT | {"dataset": "ds_x"}), 404)

    assert places(body) == [("/dataset", "not_found")]


def test_other_methods_are_refused_with_those_allowed(http: FlaskClient) -> None:
    answer = http.put("/v1/fits")

    detail = problem(answer, 405)["detail"]
    assert set(answer.headers["Allow"].split(", ")) >= {"GET", "POST"}
    assert detail == f"PUT is not for /v1/fits; allowed: {answer.headers['Allow']}"


def test_what_may_be_asked_for_is_told_without_a_body(http: FlaskClient) -> None:
    answer = http.options("/v1/fits")

    assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS", "POST"}
    assert (answer.status_code, answer.data) == (204, b"")
    assert "Content-Type" not in answer.headers
