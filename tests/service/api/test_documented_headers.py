"""The headers that tell a client what to do next: on real answers, and in the document."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from flask import Response
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from service.api import create_app
from service.context import Context
from service.keys import create_key
from service.limits import Limits
from service.settings import Settings
from tests.service.api.documented import UNNAMED, DocumentedClient, answers
from tests.service.api.resources import COLUMNS, create_dataset, create_fit, end

FIT = {"dataset": {"columns": COLUMNS}, "target": "y", "steps": 3}
RATE = {"RateLimit-Policy", "RateLimit"}
STATE = {"ETag", "Cache-Control"}
PART = STATE | {"Content-Disposition", "Accept-Ranges", "Content-Range"}


@dataclass(frozen=True)
class Service:
    """An app, beside a client of it that looks up every answer in the document."""

    context: Context
    http: FlaskClient

    def ended(self) -> str:
        """The path of a fit that has ended."""
        fit_id = create_fit(self.http)["id"]
        end(self.context, fit_id)
        return f"/v1/fits/{fit_id}"

    def history(self, parts: str) -> TestResponse:
        """These parts of what such a fit has kept."""
        return self.http.get(f"{self.ended()}/history.csv", headers={"Range": parts})


@pytest.fixture
def service(settings: Settings, context: Context) -> Iterator[Service]:
    """A service of few requests and fewer fits."""
    few = {"rate_limit": "20/hour", "max_queued_fits": 2}
    app = create_app(settings.model_copy(update=few))
    app.test_client_class = DocumentedClient
    yield Service(context, app.test_client())
    app.extensions["thalweg"].close()


def made(service: Service) -> TestResponse:
    return service.http.post("/v1/datasets", json={"columns": COLUMNS})


def queued(service: Service) -> TestResponse:
    return service.http.post("/v1/fits", json=FIT)


def awaited(service: Service) -> TestResponse:
    return service.http.post("/v1/fits", json=FIT, headers={"Prefer": "wait=0"})


def replayed(service: Service) -> TestResponse:
    once = {"Idempotency-Key": "key-1"}
    service.http.post("/v1/fits", json=FIT, headers=once)
    return service.http.post("/v1/fits", json=FIT, headers=once)


def looked_up(service: Service) -> TestResponse:
    return service.http.get(service.ended())


def known(service: Service) -> TestResponse:
    path = service.ended()
    tag = service.http.get(path).headers["ETag"]
    return service.http.get(path, headers={"If-None-Match": tag})


def paged(service: Service) -> TestResponse:
    for _ in range(2):
        create_dataset(service.http)
    return service.http.get("/v1/datasets?limit=1")


def in_part(service: Service) -> TestResponse:
    return service.history("bytes=0-3")


def beyond(service: Service) -> TestResponse:
    return service.history("bytes=100000-")


def without_key(service: Service) -> TestResponse:
    create_key(service.context.database, "ada", ["read"], Limits())
    return service.http.get("/v1/fits")


def without_scope(service: Service) -> TestResponse:
    key = create_key(service.context.database, "ada", ["read"], Limits())["key"]
    return service.http.post("/v1/fits", json=FIT, headers={"Authorization": f"Bearer {key}"})


def too_often(service: Service) -> TestResponse:
    return [service.http.get("/v1/fits") for _ in range(21)][-1]


def full(service: Service) -> TestResponse:
    return [service.http.post("/v1/fits", json=FIT) for _ in range(3)][-1]


def public(service: Service) -> TestResponse:
    return service.http.get("/livez")


Provoke = Callable[[Service], TestResponse]
CASES: list[tuple[Provoke, str, int, set[str]]] = [
    (made, "createDataset", 201, {"Location"} | RATE),
    (queued, "createFit", 202, {"Location", "Retry-After"} | RATE),
    (awaited, "createFit", 202, {"Location", "Retry-After", "Preference-Applied"} | RATE),
    (replayed, "createFit", 202, {"Location", "Retry-After", "Idempotent-Replayed"} | RATE),
    (looked_up, "getFit", 200, STATE | RATE),
    (known, "getFit", 304, STATE | RATE),
    (paged, "listDatasets", 200, STATE | {"Link"} | RATE),
    (in_part, "getHistory", 206, PART | RATE),
    (beyond, "getHistory", 416, {"Content-Range"} | RATE),
    (without_key, "listFits", 401, {"WWW-Authenticate"}),
    (without_scope, "createFit", 403, set()),
    (too_often, "listFits", 429, {"Retry-After"} | RATE),
    (full, "createFit", 503, {"Retry-After"} | RATE),
    (public, "live", 200, set()),
]


@pytest.mark.parametrize(
    ("provoke", "operation_id", "status", "carried"),
    [pytest.param(*case, id=case[0].__name__) for case in CASES],
)
def test_an_answers_headers_are_documented(
    service: Service, provoke: Provoke, operation_id: str, status: int, carried: set[str]
) -> None:
    answer = provoke(service)

    assert answer.status_code == status, answer.text
    assert set(answer.headers.keys()) - UNNAMED == carried | {"X-Request-Id"}
    assert carried <= set(answers()[operation_id][str(status)]["headers"])


def test_a_part_that_is_not_there_says_how_much_is(service: Service) -> None:
    whole = service.http.get(f"{service.ended()}/history.csv")

    assert beyond(service).headers["Content-Range"] == f"bytes */{len(whole.data)}"


@pytest.mark.parametrize("change", [("X-Other", "1"), ("X-Request-Id", None), ("Location", "/")])
def test_the_client_finds_what_is_not_documented(
    service: Service, change: tuple[str, str | None]
) -> None:
    name, value = change

    def alter(answer: Response) -> Response:
        answer.headers.pop(name, None)
        if value is not None:
            answer.headers[name] = value
        return answer

    service.http.application.after_request_funcs[None].insert(0, alter)

    with pytest.raises(AssertionError, match="headers of GET /v1/fits: 200 OK"):
        service.http.get("/v1/fits")


def test_the_client_finds_a_status_that_is_not_documented(service: Service) -> None:
    def alter(answer: Response) -> Response:
        answer.status_code = 418
        return answer

    service.http.application.after_request(alter)

    with pytest.raises(AssertionError, match="GET /v1/fits: 418"):
        service.http.get("/v1/fits")
