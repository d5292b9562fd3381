"""The service about itself: health, limits, addresses, crashes and documentation."""

from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from service.api.app import create_app
from service.context import Context
from service.schemas.answers.operations import Readiness
from service.settings import Settings
from tests.service.api.resources import COLUMNS, create_fit


def test_request_ids_are_taken_or_made(http: FlaskClient) -> None:
    def answered(given: str) -> str:
        return http.get("/livez", headers={"X-Request-Id": given}).headers["X-Request-Id"]

    assert answered("mine-1") == "mine-1"
    assert answered("not sane") != "not sane"


def test_health_is_told_by_part(http: FlaskClient) -> None:
    ready = http.get("/readyz")

    Readiness.model_validate(ready.get_json())
    assert ready.get_json() == {
        "status": "ok", "redis": "ok", "database": "ok", "storage": "ok",
    }  # fmt: skip
    assert http.get("/livez").get_json() == {"status": "ok"}


@pytest.mark.parametrize("missing", ["redis", "database", "storage"])
def test_a_missing_part_is_named(
    settings: Settings, context: Context, tmp_path: Path, missing: str
) -> None:
    without = {
        "redis": {"redis_url": "redis://127.0.0.1:1"},
        "database": {"database_url": f"sqlite:///{tmp_path / 'empty.db'}"},
        "storage": {"storage_url": (tmp_path / "file" / "objects").as_uri()},
    }
    (tmp_path / "file").touch()
    app = create_app(settings.model_copy(update=without[missing]))

    answer = app.test_client().get("/readyz")

    parts = dict.fromkeys(without, "ok") | {missing: "unavailable"}
    assert answer.status_code == 503
    assert answer.get_json() == {"status": "unavailable"} | parts
    assert app.test_client().get("/livez").status_code == 200
    app.extensions["thalweg"].close()


def test_a_full_queue_says_when_to_come_back(settings: Settings, context: Context) -> None:
    app = create_app(settings.model_copy(update={"max_queued_fits": 1}))
    http = app.test_client()
    create_fit(http)

    answer = http.post(
        "/v1/fits", json={"dataset": {"columns": COLUMNS}, "target": "y", "steps": 3}
    )

    assert answer.status_code == 503
    assert answer.get_json(force=True)["code"] == "queue_full"
    assert int(answer.headers["Retry-After"]) > 0
    app.extensions["thalweg"].close()


def test_a_body_past_the_limit_is_413(settings: Settings, context: Context) -> None:
    app = create_app(settings.model_copy(update={"max_request_bytes": 100}))

    answer = app.test_client().post("/v1/datasets", data=b"x" * 101, content_type="text/csv")

    assert answer.status_code == 413
    assert answer.get_json(force=True)["code"] == "body_too_large"
    app.extensions["thalweg"].close()


def test_urls_have_the_public_base(settings: Settings, context: Context) -> None:
    app = create_app(settings.model_copy(update={"public_url": "https://fits.example/api/"}))

    fit = create_fit(app.test_client())

    assert fit["urls"]["self"] == f"https://fits.example/api/v1/fits/{fit['id']}"
    app.extensions["thalweg"].close()


def test_a_crash_is_a_500_that_tells_nothing_but_its_request(
    app: Flask, http: FlaskClient, context: Context
) -> None:
    create_fit(http)
    with context.database.write() as connection:
        connection.exec_driver_sql("ALTER TABLE fits RENAME TO gone")

    answer = http.get("/v1/fits")

    assert answer.status_code in (500, 503)
    for told in ("Traceback", "sqlite", "psycopg", "gone", "SELECT"):
        assert told.lower() not in answer.text.lower()
    assert answer.headers["X-Request-Id"] in answer.text


def test_the_documentation_needs_no_other_host(http: FlaskClient) -> None:
    with http.get("/docs") as page:
        assert "//" not in page.get_data(as_text=True)
        policy = page.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "//" not in policy
    for name in ("swagger-ui-bundle.js", "swagger-ui.css", "docs.js", "favicon-32x32.png"):
        with http.get(f"/docs/{name}") as file:
            assert file.status_code == 200
    assert http.get("/openapi.json").get_json()["openapi"].startswith("3.1")
    assert http.get("/openapi.yaml").text.startswith("openapi: 3.1")
    assert http.get("/docs/..%2fapp.py").status_code == 404
