"""What a webhook in a body may be, and what it changes of the fit."""

from typing import Any

import pytest
from flask.testing import FlaskClient
from pydantic import SecretStr, ValidationError

from service.context import Context
from service.settings import Settings
from tests.receiver import SECRET
from tests.service.api.resources import COLUMNS
from tests.service.claiming import claim_one
from tests.service.test_lifecycle import finish

URL = "https://example.org/fits?course=ml"
ALL = ["fit.succeeded", "fit.failed", "fit.cancelled"]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Settings that send messages."""
    return settings.model_copy(update={"webhook_secret": SecretStr(SECRET)})


def body(webhook: Any, **changes: Any) -> dict[str, Any]:
    return {
        "dataset": {"columns": COLUMNS},
        "target": "y",
        "steps": 3,
        "webhook": webhook,
    } | changes


def test_every_end_is_told_unless_told_otherwise(http: FlaskClient) -> None:
    every = http.post("/v1/fits", json=body({"url": URL})).get_json()
    failures = {"url": "http://a.test:8080/", "events": ["fit.failed"]}
    some = http.post("/v1/fits", json=body(failures)).get_json()
    none = http.post("/v1/fits", json=body(None)).get_json()
    test = http.post("/v1/lr-range-tests", json=every["spec"]).get_json()
    ranged = http.post("/v1/lr-range-tests", json=body({"url": URL}, steps=None)).get_json()

    assert every["spec"]["webhook"] == {"url": URL, "events": ALL}
    assert some["spec"]["webhook"] == failures
    assert none["spec"]["webhook"] is None
    assert test["spec"]["webhook"] == every["spec"]["webhook"]
    assert ranged["spec"]["webhook"]["events"] == [
        "lr_range_test.succeeded", "lr_range_test.failed", "lr_range_test.cancelled",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "url",
    [
        "", "example.org", "ftp://example.org/", "file:///etc/passwd", "http://", "https:///path",
        "http://:80/", "http://user@example.org/", "http://user:word@example.org/",
        "http://example.org:99999/", "http://example.org:x/", "http://exa mple.org/", "http://[::1",
        "http://exämple.org/", "javascript:alert(1)", "http://example.org/" + "x" * 2000, 5, None,
    ],
)  # fmt: skip
def test_an_address_that_is_none_is_refused(http: FlaskClient, url: Any) -> None:
    answer = http.post("/v1/fits", json=body({"url": url}))

    assert answer.status_code == 422
    assert {one["pointer"] for one in answer.get_json()["errors"]} == {"/webhook/url"}


@pytest.mark.parametrize(
    ("webhook", "pointer"),
    [
        ({}, "/webhook/url"),
        ({"url": URL, "events": []}, "/webhook/events"),
        ({"url": URL, "events": ["fit.started"]}, "/webhook/events/0"),
        ({"url": URL, "secret": "x"}, "/webhook/secret"),
        (URL, "/webhook"),
    ],
)
def test_what_makes_no_webhook_is_told_with_its_place(
    http: FlaskClient, webhook: Any, pointer: str
) -> None:
    answer = http.post("/v1/fits", json=body(webhook))

    assert answer.status_code == 422
    assert answer.get_json()["errors"][0]["pointer"] == pointer


def test_a_webhook_is_no_part_of_the_numbers(http: FlaskClient, context: Context) -> None:
    first = http.post("/v1/fits", json=body({"url": URL})).get_json()
    claim = claim_one(context, first["id"], "worker")
    assert claim is not None
    assert finish(context, claim)

    again = http.post("/v1/fits", json=body(None, reuse=True))

    assert (again.status_code, again.get_json()["id"]) == (200, first["id"])


class TestWithoutASecret:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        """Settings that sign nothing."""
        return settings.model_copy(update={"webhook_secret": None})

    @pytest.mark.parametrize("path", ["/v1/fits", "/v1/fits:validate", "/v1/lr-range-tests"])
    def test_no_message_is_promised(self, http: FlaskClient, path: str) -> None:
        refused = http.post(path, json=body({"url": URL}))
        taken = http.post(path, json=body(None))

        assert refused.status_code == 422
        (error,) = refused.get_json()["errors"]
        assert (error["code"], error["pointer"]) == ("webhook_secret_missing", "/webhook")
        assert taken.status_code in (200, 202)


@pytest.mark.parametrize(
    "secret",
    ["", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_short", "whsec_!", "whsec_" + "A" * 90],
)
def test_a_secret_that_is_none_is_refused_at_the_start(
    secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THALWEG_WEBHOOK_SECRET", secret)

    with pytest.raises(ValidationError, match="must be whsec_") as refused:
        Settings()

    assert secret == "" or secret not in str(refused.value)


def test_a_secret_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THALWEG_WEBHOOK_SECRET", SECRET)

    assert SECRET not in repr(Settings())
