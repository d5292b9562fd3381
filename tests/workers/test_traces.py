"""Logs tell which request a fit or an errand comes from, through the queue to the worker."""

import io
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from service.api import create_app
from service.context import Context
from service.settings import Settings
from tests.installations import ON_EACH
from tests.logs import events_in, written_log
from tests.workers.running import run_all

pytestmark = ON_EACH

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACED = {
    "X-Request-Id": "homework-3",
    "traceparent": f"00-{TRACE_ID}-00f067aa0ba902b7-01",
}
FIT: dict[str, Any] = {
    "dataset": {"columns": {"x": [1, 2, 3], "y": [2, 3, 5]}}, "target": "y", "steps": 3,
}  # fmt: skip


@pytest.fixture
def http(context: Context) -> Iterator[FlaskClient]:
    """The API on the test's own parts."""
    app = create_app(context.settings)
    yield app.test_client()
    app.extensions["thalweg"].close()


@pytest.fixture
def written(http: FlaskClient, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What the API and the worker log."""
    assert http.application.extensions["thalweg"].settings == settings
    return written_log(settings, monkeypatch)


def of(written: io.StringIO, *names: str) -> list[dict[str, Any]]:
    return [one for one in events_in(written) if one["event"] in names]


def of_the_request(event: dict[str, Any]) -> bool:
    return event["request_id"] == "homework-3" and TRACE_ID in event["traceparent"]


def test_the_logs_of_a_fit_name_the_request_that_made_it(
    http: FlaskClient, context: Context, written: io.StringIO
) -> None:
    fit = http.post("/v1/fits", json=FIT, headers=TRACED).get_json()
    another = http.post("/v1/fits", json=FIT).get_json()
    run_all(context)

    # then the API says once which fit the request made, and the worker whose it was
    submitted, _ = of(written, "fit_submitted")
    assert (submitted["fit_id"], submitted["kind"]) == (fit["id"], "fit")
    ended = {one["fit_id"]: one for one in of(written, "fit_ended")}
    assert ended.keys() == {fit["id"], another["id"]}
    (answered, _) = of(written, "request")
    for line in (submitted, answered, ended[fit["id"]]):
        assert of_the_request(line)
    assert ended[another["id"]]["traceparent"] is None
    assert ended[another["id"]]["request_id"] not in (None, "homework-3")


def test_all_that_a_worker_says_of_a_fit_names_its_request(
    http: FlaskClient, context: Context, written: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: Any) -> None:
        raise ValueError("a bug")

    fit = http.post("/v1/fits", json=FIT, headers=TRACED).get_json()
    monkeypatch.setattr("workers.runner.compute_together", lambda *_: {})
    monkeypatch.setattr("workers.runner._compute", crash)
    run_all(context)

    (crashed,) = of(written, "fit_crashed")
    assert crashed["fit_id"] == fit["id"]
    assert of_the_request(crashed)


def test_a_batch_is_one_line_and_each_of_its_fits_names_the_request(
    http: FlaskClient, context: Context, written: io.StringIO
) -> None:
    batch = http.post("/v1/batches", json={"fits": [FIT] * 5}, headers=TRACED).get_json()
    run_all(context)

    (submitted,) = of(written, "batch_submitted", "fit_submitted")
    assert (submitted["batch_id"], submitted["n_fits"]) == (batch["id"], 5)
    ended = of(written, "fit_ended")
    assert len(ended) == 5
    assert all(map(of_the_request, [submitted, *ended]))


def test_what_is_reused_is_said_to_be(
    http: FlaskClient, context: Context, written: io.StringIO
) -> None:
    fit = http.post("/v1/fits", json=FIT).get_json()
    run_all(context)

    http.post("/v1/fits", json=FIT | {"reuse": True}, headers=TRACED)

    (reused,) = of(written, "fit_reused")
    assert reused["fit_id"] == fit["id"]
    assert of_the_request(reused)


@pytest.mark.usefixtures("errand_worker")
def test_the_logs_of_an_errand_name_the_request_that_waits_for_it(
    http: FlaskClient, context: Context, written: io.StringIO
) -> None:
    fit = http.post("/v1/fits", json=FIT).get_json()
    run_all(context)
    url = f"/v1/fits/{fit['id']}"

    done = http.post(f"{url}/predictions", json={"rows": [{"x": 1}]}, headers=TRACED)
    http.post(f"{url}/predictions", json={"rows": [{"x": 1}]})

    assert done.status_code == 200
    first, second = of(written, "errand_done")
    assert (first["errand"], first["fit_id"]) == ("predict", fit["id"])
    assert of_the_request(first)
    assert not of_the_request({**second, "traceparent": second["traceparent"] or ""})


@pytest.mark.usefixtures("errand_worker")
def test_an_errand_that_crashes_does_too(
    http: FlaskClient, context: Context, written: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: Any, **__: Any) -> dict[str, Any]:
        raise ValueError("a bug")

    fit = http.post("/v1/fits", json=FIT).get_json()
    run_all(context)
    monkeypatch.setattr("workers.errands.ERRANDS", {"predict": crash})

    url = f"/v1/fits/{fit['id']}/predictions"
    answer = http.post(url, json={"rows": [{"x": 1}]}, headers=TRACED)

    assert answer.status_code == 500
    crashed, failed = of(written, "errand_crashed", "errand_failed")
    assert of_the_request(crashed)
    assert of_the_request(failed)
