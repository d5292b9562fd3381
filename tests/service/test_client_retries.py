"""The client beside a service that fails, is busy, or falls silent in the midst of its words."""

from pathlib import Path
from typing import Any

import pytest

from service.client.errors import ClientError, Refused, Unreachable
from tests.ports import free_ports
from tests.service.patient import service_at, talking
from tests.service.scripted import GONE, Answer, problem, said

FIT = {"id": "fit_1", "object": "fit"}
BUSY = problem(503, "queue_full", "the queue is full", retry_after=0)
LATE = problem(429, "rate_limited", "too many requests", retry_after=0)
IN_FLIGHT = problem(409, "idempotency_key_in_flight", retry_after=0)


@pytest.mark.parametrize(
    "trouble",
    [
        GONE,
        Answer(502),
        Answer(504, b"<html>", {"Content-Type": "text/html"}),
        problem(500, "internal_error"),
        BUSY,
        LATE,
        Answer(body=b'{"id": "fi', cut=True),
    ],
)
def test_what_is_looked_up_is_asked_for_again(trouble: Answer) -> None:
    with talking("GET /v1/fits/fit_1", [trouble, trouble, said(FIT)]) as (script, service):
        assert service.get("/v1/fits/fit_1") == FIT
    assert len(script.requests) == 3


@pytest.mark.parametrize("trouble", [GONE, BUSY, LATE, IN_FLIGHT])
def test_what_makes_something_is_sent_again_under_its_key(trouble: Answer) -> None:
    with talking("POST /v1/fits", [trouble, said(FIT, 202)]) as (script, service):
        assert service.post("/v1/fits", {"target": "y"}) == FIT
        service.post("/v1/fits", {"target": "y"})

    first, again, other = script.requests
    assert first.body == again.body
    keys = [request.headers["Idempotency-Key"] for request in script.requests]
    assert keys[0] == keys[1] != keys[2]
    assert other.body == first.body


def test_a_file_is_sent_again_from_its_start(tmp_path: Path) -> None:
    table = tmp_path / "data.csv.gz"
    table.write_bytes(b"not looked at" * 10_000)
    with talking("POST /v1/datasets", [GONE, BUSY, said({"id": "ds_1"}, 201)]) as (script, service):
        assert service.upload(table, name="data")["id"] == "ds_1"

    assert {request.body for request in script.requests} == {table.read_bytes()}
    assert len({request.headers["Idempotency-Key"] for request in script.requests}) == 1
    assert script.requests[0].path == "/v1/datasets?name=data"
    assert script.requests[0].headers["Content-Type"] == "text/csv"
    assert script.requests[0].headers["Content-Encoding"] == "gzip"


@pytest.mark.parametrize(
    ("trouble", "error", "told_"),
    [
        (BUSY, Unreachable, "503 Service Unavailable: the queue is full"),
        (LATE, Refused, "too many requests"),
        (problem(500, "internal_error", "its log says why"), Unreachable, "its log says why"),
        (Answer(502), Unreachable, "answers 502 Bad Gateway"),
        (GONE, Unreachable, "does not answer"),
    ],
)
def test_patience_ends(trouble: Answer, error: type[ClientError], told_: str) -> None:
    with (
        talking("GET /v1/fits/fit_1", trouble, 4) as (script, service),
        pytest.raises(error, match=told_),
    ):
        service.get("/v1/fits/fit_1")
    assert len(script.requests) > 3


@pytest.mark.parametrize(
    ("answer", "error", "told_"),
    [
        (problem(422, "invalid_input", "no epochs"), Refused, "no epochs"),
        (problem(404, "not_found", "there is no fit"), Refused, "there is no fit"),
        (problem(401, "unauthorized", "no key"), Refused, "no key"),
        (problem(409, "conflict", "it has ended"), Refused, "it has ended"),
        (problem(503, "queue_full", retry_after=3600), Unreachable, "503"),
        (Answer(200, b"<html>"), Unreachable, "is no Thalweg: 200 OK"),
        (Answer(404, b"<html>"), Unreachable, "answers 404 Not Found"),
        (
            Answer(301, headers={"Location": "https://there/"}),
            Unreachable,
            "301 Moved Permanently, to https://there/",
        ),
    ],
)
def test_what_will_not_change_is_not_asked_for_again(
    answer: Answer, error: type[ClientError], told_: str
) -> None:
    with (
        talking("GET /v1/fits/fit_1", answer) as (script, service),
        pytest.raises(error, match=told_),
    ):
        service.get("/v1/fits/fit_1")
    assert len(script.requests) == 1


def test_a_refusal_is_told_once_and_by_its_places() -> None:
    one: list[dict[str, Any]] = [{"pointer": "/target", "detail": "there is no column 'z'"}]
    two: list[dict[str, Any]] = [*one, {"row": 3, "column": "x", "detail": "a value is missing"}]

    def lines(detail: str, errors: list[dict[str, Any]]) -> Any:
        refusal = problem(422, "invalid_input", detail, errors=errors)
        with talking("GET /", refusal) as (_, service), pytest.raises(Refused) as refused:
            service.get("/")
        return refused.value.lines

    mended = ("/target: there is no column 'z'", "row 3, column 'x': a value is missing")
    assert lines("/target: there is no column 'z'", one) == mended[:1]
    assert lines("/target: there is no column 'z' (2 errors)", two) == mended
    assert lines("nothing fits", two) == ("nothing fits", *mended)
    # a place that says where it is by itself
    whole: list[dict[str, Any]] = [
        {"row": 1, "column": "x", "detail": "row 1, column 'x': a value is missing"}
    ]
    assert lines(whole[0]["detail"], whole) == ("row 1, column 'x': a value is missing",)


def test_nobody_there_is_told_by_its_address() -> None:
    (port,) = free_ports(1)
    told_ = f"http://127.0.0.1:{port} does not answer: "
    with (
        service_at(f"http://127.0.0.1:{port}", 1) as service,
        pytest.raises(Unreachable, match=told_),
    ):
        service.get("/v1/fits")
