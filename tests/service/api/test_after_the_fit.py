"""Predictions, evaluations, gradients, scripts and validation at the edge, without a worker."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from service import errands
from service.api.problems import status_of
from service.context import Context
from service.errors import NotFound, ThalwegError, WorkerFailed, WorkersBusy
from service.places import Places
from service.reproduction import NotReproducible
from service.schemas.answers.fits import ValidFit
from tests.service.api.resources import COLUMNS, create_fit, end
from tests.service.api.test_problems import problem
from tests.service.claiming import claim_one, finish_one
from tests.service.stored import stored

ROWS = {"features": {"x": [1]}}
GRADIENT = {
    "dataset": {"columns": COLUMNS}, "target": "y", "weights": {"weight": [[1]], "bias": [0]},
}  # fmt: skip


@pytest.fixture
def url(http: FlaskClient, context: Context) -> str:
    """An ended fit's."""
    fit = create_fit(http)
    end(context, fit["id"])
    return f"/v1/fits/{fit['id']}"


def test_a_fit_that_waits_has_nothing_to_give_yet(http: FlaskClient) -> None:
    waiting = f"/v1/fits/{create_fit(http)['id']}"

    problem(http.post(f"{waiting}/predictions", json=ROWS), 409)
    problem(http.post(f"{waiting}/evaluations", json={"dataset": {"columns": COLUMNS}}), 409)
    script = problem(http.get(f"{waiting}/reproduce.py"), 404)
    assert script["code"] == "not_reproducible"
    assert "it is queued" in script["detail"]


def test_unknown_and_deleted_fits_have_nothing_to_give(http: FlaskClient, url: str) -> None:
    http.delete(url)

    for path, status in (("/v1/fits/fit_none", 404), (url, 410)):
        problem(http.post(f"{path}/predictions", json=ROWS), status)
        problem(http.post(f"{path}/evaluations", json={"dataset": "ds_x"}), status)
        problem(http.get(f"{path}/reproduce.py"), status)


@pytest.mark.parametrize(
    ("body", "media_type", "status"),
    [
        (b"{", "application/json", 400),
        (b"PAR1", "application/vnd.apache.parquet", 422),
        (b"x\n1\n", "application/msword", 415),
        (b"x,y\n1,2,3\n", "text/csv", 422),
        (b'{"dataset": "ds_none"}', "application/json", 404),
    ],
)
def test_what_is_no_table_is_refused(
    http: FlaskClient, url: str, body: bytes, media_type: str, status: int
) -> None:
    problem(http.post(f"{url}/predictions", data=body, content_type=media_type), status)


def test_the_form_of_the_answer_is_negotiated_first(http: FlaskClient, url: str) -> None:
    answer = http.post(f"{url}/predictions", json=ROWS, headers={"Accept": "image/png"})

    assert "application/json" in problem(answer, 406)["detail"]


@pytest.mark.parametrize("query", ["name=n", "delimiter=ab", "missing=keep", "header=perhaps"])
def test_a_query_that_means_nothing_is_refused(http: FlaskClient, url: str, query: str) -> None:
    problem(http.post(f"{url}/predictions?{query}", json=ROWS), 422)


def test_without_a_worker_the_answer_is_to_come_again(
    http: FlaskClient, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errands, "_DONE_WITHIN_SECONDS", 0.1)

    for answer in (
        http.post(f"{url}/predictions", json=ROWS),
        http.post(f"{url}/evaluations", json={"dataset": {"columns": COLUMNS}}),
        http.post("/v1/gradients", json=GRADIENT),
    ):
        assert problem(answer, 503)["code"] == "unavailable"
        assert answer.headers["Retry-After"]


def test_a_script_is_an_artifact(http: FlaskClient, context: Context) -> None:
    fit = create_fit(http)
    claim = claim_one(context, fit["id"], "worker")
    assert claim is not None
    result = {"ended_as": "completed", "progress": {"step": 3}, "fingerprint": {}}
    finish_one(context, claim, status="succeeded", stop_reason="completed", result=result)
    ended = http.get(f"/v1/fits/{fit['id']}").get_json()

    script = http.get(ended["artifacts"]["reproduce"])

    assert script.status_code == 200
    assert script.content_type == "text/x-python; charset=utf-8"
    assert "for step in range(3):\n" in script.text
    assert fit["dataset"]["digest"] in script.text
    headers = {"If-None-Match": script.headers["ETag"]}
    assert http.get(ended["artifacts"]["reproduce"], headers=headers).status_code == 304


@pytest.mark.parametrize(
    ("ended_as", "loop", "restored"),
    [
        ("completed", "range(3):\n", True),
        ("interrupted", "range(2):  # Here", False),
        ("time_limit", "range(2):  # Here", True),
        ("diverged", "range(2):  # Here", True),
    ],
)
def test_a_script_ends_where_its_fit_was_ended(
    http: FlaskClient, context: Context, ended_as: str, loop: str, *, restored: bool
) -> None:
    """A fit that is cancelled as it comes to its end was not cut short: its worker knows."""
    stopping = {"monitor": "train_loss", "patience": 9}
    fit = create_fit(http, early_stopping=stopping)
    claim = claim_one(context, fit["id"], "worker")
    assert claim is not None
    http.post(f"/v1/fits/{fit['id']}/cancel")
    result = {"ended_as": ended_as, "progress": {"step": 2}, "fingerprint": {}}
    finish_one(context, claim, status="succeeded", stop_reason="completed", result=result)

    script = http.get(f"/v1/fits/{fit['id']}/reproduce.py").text

    assert http.get(f"/v1/fits/{fit['id']}").get_json()["stop_reason"] == "cancelled"
    assert loop in script
    assert ("best_weights" in script) == restored


def test_a_valid_fit_is_described_and_forgotten(http: FlaskClient, context: Context) -> None:
    body = {"dataset": {"columns": COLUMNS}, "target": "y", "steps": 3}

    found = http.post("/v1/fits:validate", json=body)

    assert found.status_code == 200, found.text
    ValidFit.model_validate(found.get_json())
    assert found.get_json()["spec"]["dataset"]["n_rows"] == 2
    for kind in ("fits", "datasets"):
        assert http.get(f"/v1/{kind}").get_json()["data"] == []
    assert stored(context) == []
    problem(http.get("/v1/fits:validate"), 405)


@pytest.mark.parametrize(
    "changes",
    [{"dataset": "ds_none"}, {"target": "z"}, {"lr": 1}, {"epochs": 3}, {"steps": "3"}],
)
def test_what_is_not_valid_is_refused_like_the_real_call(
    http: FlaskClient, changes: dict[str, Any]
) -> None:
    body = {"dataset": {"columns": COLUMNS}, "target": "y", "steps": 3} | changes

    validated, queued = (http.post(p, json=body) for p in ("/v1/fits:validate", "/v1/fits"))

    assert validated.status_code == queued.status_code
    assert {k: v for k, v in validated.get_json(force=True).items() if k in ("code", "errors")} == (
        {k: v for k, v in queued.get_json(force=True).items() if k in ("code", "errors")}
    )


@pytest.mark.parametrize(
    ("kind", "status"), [(WorkerFailed, 500), (NotReproducible, 404), (NotFound, 404)]
)
def test_every_refusal_has_a_status(kind: type[ThalwegError], status: int) -> None:
    assert status_of(kind) == status


def test_requests_past_the_places_at_workers_are_told_to_come_again(
    http: FlaskClient, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a process whose places are all taken
    places = Places(1, "requests to workers", WorkersBusy)
    monkeypatch.setattr(errands, "_places", places)
    monkeypatch.setattr(errands, "_DONE_WITHIN_SECONDS", 0.1)

    # then whatever needs a worker's answer is refused at once, and nothing else is
    with places.taken(None):
        for refused in (
            http.post(f"{url}/predictions", json=ROWS),
            http.post(f"{url}/evaluations", json={"dataset": {"columns": COLUMNS}}),
            http.post("/v1/gradients", json=GRADIENT),
            http.get(f"{url}/plots/loss.png"),
        ):
            assert problem(refused, 503)["code"] == "workers_busy"
            assert int(refused.headers["Retry-After"]) > 0
        assert http.get("/livez").status_code == http.get(url).status_code == 200
    assert problem(http.post(f"{url}/predictions", json=ROWS), 503)["code"] == "unavailable"
