"""What would take more memory than a fit may is refused, and nothing of it is kept."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from service.settings import Settings

MOST_BYTES = 50_000
COLUMNS = {"x": [1.0, 2.0], "y": [1.0, 2.5]}
ROWS = [float(i) for i in range(2_000)]
MANY = {"columns": {"x": ROWS, "y": ROWS}}
BASE: dict[str, Any] = {"dataset": {"columns": COLUMNS}, "target": "y", "steps": 3}
RANGE_TEST = {name: BASE[name] for name in ("dataset", "target")}
WIDE = {"model": {"kind": "mlp", "hidden": [50, 50]}}
TOO_LARGE: list[tuple[dict[str, Any], str]] = [
    (WIDE, "/model"),
    ({"dataset": MANY}, "/dataset"),
    ({"dataset": MANY, "model": {"kind": "mlp", "hidden": [9]}}, "/batch_size"),
    ({"steps": 2_000, "record": {"weights": True}}, "/record/every"),
    ({"steps": 1_000}, "/record/every"),
]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """A service whose fits may take little memory."""
    return settings.model_copy(update={"max_fit_bytes": MOST_BYTES})


def refused(http: FlaskClient, url: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    """The places of the refusal, of which nothing is kept."""
    answer = http.post(url, json=body)
    assert answer.status_code == 422, answer.text
    for kind in ("fits", "datasets", "batches", "lr-range-tests"):
        assert http.get(f"/v1/{kind}").get_json()["data"] == []
    places: list[dict[str, Any]] = answer.get_json()["errors"]
    assert {place["code"] for place in places} == {"too_much_memory"}
    return places


@pytest.mark.parametrize(("changes", "pointer"), TOO_LARGE)
@pytest.mark.parametrize("url", ["/v1/fits", "/v1/fits:validate"])
def test_a_fit_that_would_take_too_much_is_refused_where_it_is_to_be_mended(
    http: FlaskClient, url: str, changes: dict[str, Any], pointer: str
) -> None:
    (place,) = refused(http, url, BASE | changes)

    assert place["pointer"] == pointer
    assert f"past the limit of {MOST_BYTES} (THALWEG_MAX_FIT_BYTES); " in place["detail"]


@pytest.mark.parametrize(
    ("changes", "pointer"), [(WIDE, "/model"), ({"num_iter": 1_000}, "/num_iter")]
)
def test_a_range_test_that_would_take_too_much_is_refused(
    http: FlaskClient, changes: dict[str, Any], pointer: str
) -> None:
    (place,) = refused(http, "/v1/lr-range-tests", RANGE_TEST | changes)

    assert place["pointer"] == pointer


def test_a_batchs_members_that_would_take_too_much_are_told(http: FlaskClient) -> None:
    listed = refused(http, "/v1/batches", {"fits": [BASE, BASE | WIDE, BASE, BASE | WIDE]})
    swept = refused(http, "/v1/batches", {"base": BASE | WIDE, "grid": {"seed": [0, 1]}})

    assert [place["pointer"] for place in listed] == ["/fits/1/model", "/fits/3/model"]
    assert [place["pointer"] for place in swept] == ["/base/model"]


def test_what_fits_in_is_taken(http: FlaskClient) -> None:
    seen = http.post("/v1/fits:validate", json=BASE).get_json()
    # What a range test does not record takes nothing.
    recorded = RANGE_TEST | {"record": {"weights": True, "gradients": True}}

    assert seen["memory_bytes"] <= MOST_BYTES
    assert http.post("/v1/fits", json=BASE).status_code == 202
    assert http.post("/v1/batches", json={"fits": [BASE]}).status_code == 202
    assert http.post("/v1/lr-range-tests", json=recorded).status_code == 202
