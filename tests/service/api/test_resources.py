"""Resources over HTTP: headers, links, pages, states, formats."""

import io
import json
import threading
from typing import Any

import numpy as np
import onnxruntime
import pyarrow.parquet as pq
import pytest
import safetensors.numpy
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from service.api import waiting
from service.api.app import create_app
from service.api.artifacts import history_json
from service.artifacts import store_arrays
from service.context import Context
from service.errors import Unavailable
from service.keys import create_key
from service.limits import Limits
from service.places import Places
from service.schemas.answers import (
    Dataset,
    DatasetList,
    Fit,
    FitList,
    History,
    Readiness,
    Trajectory,
)
from service.settings import Settings
from tests.service.claiming import claim_one, finish_one
from tests.service.later import later

COLUMNS = {"x": [1, 2.5], "y": [1, 2]}
HISTORY = {
    "step": np.arange(3),
    "epoch": np.arange(3),
    "loss": np.array([0.1 + 0.2, 1e-17, 3.0]),
    "lr": np.full(3, 0.1),
    "grad_norm": np.array([1.0, np.inf, 2.0]),
    "epochs.epoch": np.arange(3),
    "epochs.train_loss": np.array([0.3, 0.2, 0.1]),
    "epochs.validation_loss": np.full(3, np.nan),
}
WEIGHTS = {"weight": np.array([[0.1]], dtype=np.float32), "bias": np.array([2], dtype=np.float32)}


def create_dataset(http: FlaskClient, **more: Any) -> dict[str, Any]:
    answer = http.post("/v1/datasets", json={"columns": COLUMNS} | more)
    assert answer.status_code == 201
    body: dict[str, Any] = answer.get_json()
    return body


def create_fit(http: FlaskClient, **changes: Any) -> dict[str, Any]:
    body = {"dataset": {"columns": COLUMNS}, "target": "y", "steps": 3} | changes
    answer = http.post("/v1/fits", json=body)
    assert answer.status_code == 202, answer.text
    fit: dict[str, Any] = answer.get_json()
    return fit


def end(context: Context, fit_id: str, **more: dict[str, Any]) -> None:
    """What a worker does at the end of a fit."""
    claim = claim_one(context, fit_id, "worker")
    assert claim is not None
    rows = [
        store_arrays(context, claim.fit_id, claim.fence, "weights", WEIGHTS),
        store_arrays(context, claim.fit_id, claim.fence, "history", HISTORY),
    ]
    rows += [store_arrays(context, fit_id, claim.fence, *one) for one in more.items()]
    history = {"step": [0], "loss": [1.0], "n": 1, "thinned": False}
    finish_one(
        context,
        claim,
        status="succeeded",
        stop_reason="completed",
        result={
            "loss_history": history,
            "final_loss": 0.5,
            "coefficients": {"x": 1.0},
            "fingerprint": {"strategy": "reference"},
            "plots": ["loss", "fit", "animation"],
        },
        artifacts=rows,
    )


def test_a_dataset_is_made_found_listed_and_deleted(http: FlaskClient) -> None:
    made = http.post("/v1/datasets", json={"columns": COLUMNS, "name": "n", "tags": ["t"]})
    dataset = made.get_json()
    url = made.headers["Location"]

    Dataset.model_validate(dataset)
    assert url == f"http://localhost/v1/datasets/{dataset['id']}"
    assert http.get(url).get_json() == dataset
    listed = http.get("/v1/datasets?tag=t").get_json()
    DatasetList.model_validate(listed)
    assert listed["data"] == [dataset]
    assert http.delete(url).status_code == 204
    assert http.get(url).status_code == 410
    assert http.delete(url).status_code == 410
    assert http.get("/v1/datasets").get_json()["data"] == []


def test_csv_is_read_as_the_query_says(http: FlaskClient) -> None:
    answer = http.post(
        "/v1/datasets?delimiter=;&header=false&name=n", data=b"1;2\n", content_type="text/csv"
    )

    body = answer.get_json()
    assert [column["name"] for column in body["columns"]] == ["0", "1"]
    assert body["name"] == "n"


def test_a_queued_fit_says_where_it_is_and_when_to_look(http: FlaskClient) -> None:
    dataset = create_dataset(http)
    answer = http.post(
        "/v1/fits", json={"dataset": dataset["id"], "target": "y", "epochs": 2, "tags": ["a"]}
    )
    fit = answer.get_json()

    Fit.model_validate(fit)
    assert answer.status_code == 202
    assert answer.headers["Location"] == fit["urls"]["self"]
    assert answer.headers["Retry-After"] == "1"
    assert "Preference-Applied" not in answer.headers
    assert fit["status"] == "queued"
    assert fit["dataset"] == {"id": dataset["id"], "digest": dataset["digest"], "n_rows": 2}
    assert (fit["plots"], fit["artifacts"]) == ({}, {})
    assert http.get(fit["urls"]["self"]).get_json() == fit


def test_an_ended_fit_has_its_links(http: FlaskClient, context: Context) -> None:
    fit = create_fit(http)
    end(context, fit["id"])

    ended = http.get(f"/v1/fits/{fit['id']}").get_json()

    Fit.model_validate(ended)
    url = f"http://localhost/v1/fits/{fit['id']}"
    assert ended["plots"] == {
        "loss": f"{url}/plots/loss.png",
        "fit": f"{url}/plots/fit.png",
        "animation": f"{url}/plots/animation.gif",
    }
    assert ended["artifacts"] == {
        "weights": {f: f"{url}/weights.{f}" for f in ("json", "safetensors", "npz", "onnx")},
        "history": {f: f"{url}/history.{f}" for f in ("json", "csv", "parquet")},
        "reproduce": f"{url}/reproduce.py",
    }


def test_artifacts_keep_every_digit_in_every_format(http: FlaskClient, context: Context) -> None:
    fit = create_fit(http)
    end(context, fit["id"])

    def get(name: str) -> Any:
        return http.get(f"/v1/fits/{fit['id']}/{name}")

    history = json.loads(get("history.json").data, parse_constant=pytest.fail)
    History.model_validate(history)
    assert history["loss"] == HISTORY["loss"].tolist()
    assert history["grad_norm"] == [1.0, None, 2.0]
    assert history["epochs"]["validation_loss"] == [None] * 3
    assert get("history.csv").text.splitlines()[:3] == [
        "step,epoch,loss,lr,grad_norm",
        "0,0,0.30000000000000004,0.1,1.0",
        "1,1,1e-17,0.1,inf",
    ]
    table = pq.read_table(io.BytesIO(get("history.parquet").data))
    assert table.column_names == ["step", "epoch", "loss", "lr", "grad_norm"]
    assert table["loss"].to_pylist() == HISTORY["loss"].tolist()
    expected = {name: array.tolist() for name, array in WEIGHTS.items()}
    tensors = safetensors.numpy.load(get("weights.safetensors").data)
    arrays = np.load(io.BytesIO(get("weights.npz").data), allow_pickle=False)
    assert get("weights.json").get_json() == expected
    assert {name: array.tolist() for name, array in tensors.items()} == expected
    assert {name: arrays[name].tolist() for name in arrays} == expected
    assert tensors["weight"].dtype == arrays["weight"].dtype == np.float32


def test_numbers_that_json_lacks_are_null_with_the_first_place_named() -> None:
    arrays = {
        "step": np.arange(3),
        "grad_norm": np.array([1.0, np.inf, np.nan]),
        "epochs.train_loss": np.array([1.0, 2.0]),
        "epochs.validation_loss": np.array([np.nan, np.nan]),
    }

    told = json.loads(history_json(arrays))

    assert told["grad_norm"] == [1.0, None, None]
    assert told["not_finite"] == {"grad_norm": 1}
    assert told["epochs"]["validation_loss"] == [None, None]


def test_the_trajectory_says_the_same_in_every_format(http: FlaskClient, context: Context) -> None:
    fit = create_fit(http, record={"weights": True, "gradients": True})
    steps = np.arange(2)
    weights = {"weight": np.ones((2, 1, 1)), "bias": np.zeros((2, 1))}
    gradients = {"gradients.weight": np.full((2, 1, 1), 3.0)}
    end(context, fit["id"], trajectory={"step": steps} | weights | gradients)

    shown = http.get(f"/v1/fits/{fit['id']}/trajectory.json").get_json()
    arrays = np.load(io.BytesIO(http.get(f"/v1/fits/{fit['id']}/trajectory.npz").data))

    Trajectory.model_validate(shown)
    assert shown == {
        "step": [0, 1], "weight": [[[1]], [[1]]], "bias": [[0], [0]],
        "gradients": {"weight": [[[3]], [[3]]]},
    }  # fmt: skip
    assert {name: arrays[name].tolist() for name in arrays} == {
        "step": [0, 1], "weight": [[[1]], [[1]]], "bias": [[0], [0]],
        "gradients.weight": [[[3]], [[3]]],
    }  # fmt: skip
    links = http.get(f"/v1/fits/{fit['id']}").get_json()["artifacts"]
    assert set(links["trajectory"]) == {"json", "npz"}


def test_a_fitted_model_runs_as_onnx(http: FlaskClient, context: Context) -> None:
    fit = create_fit(http)
    end(context, fit["id"])

    session = onnxruntime.InferenceSession(http.get(f"/v1/fits/{fit['id']}/weights.onnx").data)

    features = np.array([[1.0], [3.0]], np.float32)
    (predicted,) = session.run(["predictions"], {"features": features})
    np.testing.assert_allclose(predicted, features * np.float32(0.1) + 2, rtol=1e-6)


def test_a_fit_is_cancelled(http: FlaskClient, context: Context) -> None:
    fit = create_fit(http)

    answer = http.post(fit["urls"]["cancel"])
    again = http.post(fit["urls"]["cancel"])

    assert (answer.status_code, answer.get_json()["status"]) == (202, "cancelled")
    assert (again.status_code, again.get_json()["code"]) == (409, "conflict")


def test_an_earlier_fit_that_is_reused_is_the_answer(http: FlaskClient, context: Context) -> None:
    fit = create_fit(http)
    end(context, fit["id"])
    body = {"dataset": {"columns": COLUMNS}, "target": "y", "steps": 3, "reuse": True}

    answer = http.post("/v1/fits", json=body)

    assert answer.status_code == 200
    assert answer.get_json()["id"] == fit["id"]
    assert answer.headers["Location"] == fit["urls"]["self"]


def test_artifacts_are_immutable_and_come_in_parts(http: FlaskClient, context: Context) -> None:
    fit = create_fit(http)
    end(context, fit["id"])
    url = f"/v1/fits/{fit['id']}/history.csv"
    whole = http.get(url)

    part = http.get(url, headers={"Range": "bytes=0-3"})
    known = http.get(url, headers={"If-None-Match": whole.headers["ETag"]})
    beyond = http.get(url, headers={"Range": "bytes=100000-"})

    assert "immutable" in whole.headers["Cache-Control"]
    assert not whole.headers["ETag"].startswith("W/")
    assert (part.status_code, part.data) == (206, b"step")
    assert (known.status_code, known.data) == (304, b"")
    assert beyond.status_code == 416
    assert http.head(url).headers["Content-Length"] == str(len(whole.data))


def test_a_fit_without_artifacts_yet_is_404(http: FlaskClient) -> None:
    fit = create_fit(http)

    assert http.get(f"/v1/fits/{fit['id']}/history.json").status_code == 404
    assert http.get(f"/v1/fits/{fit['id']}/plots/loss.png").status_code == 404


def test_an_unchanged_fit_is_304_and_a_changed_one_is_not(
    http: FlaskClient, context: Context
) -> None:
    fit = create_fit(http)
    tag = {"If-None-Match": http.get(f"/v1/fits/{fit['id']}").headers["ETag"]}

    assert http.get(f"/v1/fits/{fit['id']}", headers=tag).status_code == 304
    end(context, fit["id"])
    assert http.get(f"/v1/fits/{fit['id']}", headers=tag).status_code == 200


@pytest.mark.parametrize("prefer", ["wait=1", "respond-async, wait=1", 'Wait="1"', "wait = 1;x=y"])
def test_a_wait_that_is_too_short_answers_202(http: FlaskClient, prefer: str) -> None:
    body = {"dataset": {"columns": COLUMNS}, "target": "y", "steps": 3}
    answer = http.post("/v1/fits", json=body, headers={"Prefer": prefer})

    assert answer.status_code == 202
    assert answer.headers["Preference-Applied"] == "wait=1"
    assert answer.headers["Retry-After"]


def test_who_finds_no_place_to_wait_is_answered_at_once(
    http: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = Places(1, "waits", Unavailable)
    monkeypatch.setattr(waiting, "_places", places)
    wait = {"Prefer": "wait=1"}

    with places.taken(None):
        body = {"dataset": {"columns": COLUMNS}, "target": "y", "steps": 3}
        at_once = http.post("/v1/fits", json=body, headers=wait)
        shown = http.get(f"/v1/fits/{at_once.get_json()['id']}", headers=wait)
    waited = http.get(f"/v1/fits/{at_once.get_json()['id']}", headers=wait)

    assert at_once.status_code == 202
    for answer in (at_once, shown):
        assert "Preference-Applied" not in answer.headers
    assert waited.headers["Preference-Applied"] == "wait=1"


def test_an_owner_has_a_quarter_of_the_places_to_wait(
    http: FlaskClient, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given an owner who waits as often as they may
    places = Places(8, "waits", Unavailable)
    monkeypatch.setattr(waiting, "_places", places)
    ada, bob = (
        create_key(context.database, owner, ["read", "write"], Limits())["key"]
        for owner in ("ada", "bob")
    )
    body = {"dataset": {"columns": COLUMNS}, "target": "y", "steps": 3}

    def post(key: str) -> TestResponse:
        headers = {"Authorization": f"Bearer {key}", "Prefer": "wait=1"}
        return http.post("/v1/fits", json=body, headers=headers)

    with places.taken("ada"), places.taken("ada"):
        # then their next wait is answered at once, and no error; another owner still waits
        at_once, waited = post(ada), post(bob)
    afterwards = post(ada)

    assert [answer.status_code for answer in (at_once, waited, afterwards)] == [202] * 3
    assert "Preference-Applied" not in at_once.headers
    for answer in (waited, afterwards):
        assert answer.headers["Preference-Applied"] == "wait=1"


@pytest.mark.parametrize("prefer", ["wait", "wait=soon", "wait=-1", "wait=1.5", "await=9", "", ";"])
def test_a_preference_that_makes_no_sense_is_ignored(http: FlaskClient, prefer: str) -> None:
    body = {"dataset": {"columns": COLUMNS}, "target": "y", "steps": 3}
    answer = http.post("/v1/fits", json=body, headers={"Prefer": prefer})

    assert answer.status_code == 202
    assert "Preference-Applied" not in answer.headers


def test_a_wait_ends_with_the_fit(http: FlaskClient, context: Context) -> None:
    fit = create_fit(http)

    with later(0.2, end, context, fit["id"]):
        answer = http.get(f"/v1/fits/{fit['id']}", headers={"Prefer": "wait=999"})

    assert answer.get_json()["status"] == "succeeded"
    assert answer.headers["Preference-Applied"] == "wait=60"


def test_a_stopped_process_lets_waits_go(
    http: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = create_fit(http)
    flag = threading.Event()
    monkeypatch.setattr(waiting, "_draining", flag)
    threading.Timer(0.1, waiting.begin_drain).start()

    answer = http.get(f"/v1/fits/{fit['id']}", headers={"Prefer": "wait=60"})

    assert answer.get_json()["status"] == "queued"


def test_pages_link_to_the_next_one(http: FlaskClient) -> None:
    ids = [create_fit(http, tags=["page"])["id"] for _ in range(5)]
    seen: list[str] = []
    url: str | None = "/v1/fits?limit=2&tag=page"
    while url:
        answer = http.get(url)
        page = answer.get_json()
        FitList.model_validate(page)
        seen += [fit["id"] for fit in page["data"]]
        link = answer.headers.get("Link", "")
        assert page["has_more"] == bool(link) == (page["next_cursor"] is not None)
        assert not link or link.endswith('>; rel="next"')
        url = link[1:].partition(">")[0] or None

    assert sorted(seen) == sorted(ids)
    assert seen == sorted(seen, reverse=True)


def test_many_fits_are_looked_up_in_the_order_asked_for(http: FlaskClient) -> None:
    ids = [create_fit(http)["id"] for _ in range(3)]
    asked = [ids[1], ids[0], ids[2]]

    found = http.get("/v1/fits", query_string={"ids": ",".join(asked)}).get_json()

    assert [fit["id"] for fit in found["data"]] == asked
    assert http.get("/v1/fits", query_string={"ids": ",".join(["x"] * 1001)}).status_code == 422


def test_fits_are_filtered(http: FlaskClient) -> None:
    fit = create_fit(http, metadata={'odd "key"': "v"})
    create_fit(http)

    query = {
        'metadata[odd "key"]': "v",
        "status": "queued",
        "created_after": "2020-01-01T00:00:00Z",
    }
    found = http.get("/v1/fits", query_string=query).get_json()

    assert [one["id"] for one in found["data"]] == [fit["id"]]


def test_a_fit_is_deleted_only_after_its_end(http: FlaskClient, context: Context) -> None:
    fit = create_fit(http)

    assert http.delete(f"/v1/fits/{fit['id']}").status_code == 409
    end(context, fit["id"])
    assert http.delete(f"/v1/fits/{fit['id']}").status_code == 204
    assert http.get(f"/v1/fits/{fit['id']}").status_code == 410


def test_a_dataset_in_use_is_not_deleted(http: FlaskClient) -> None:
    fit = create_fit(http)

    assert http.delete(f"/v1/datasets/{fit['dataset']['id']}").status_code == 409


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


def test_a_missing_part_is_named(settings: Settings, context: Context) -> None:
    app = create_app(settings.model_copy(update={"redis_url": "redis://127.0.0.1:1"}))

    answer = app.test_client().get("/readyz")

    assert answer.status_code == 503
    assert answer.get_json()["redis"] == "unavailable"
    assert answer.get_json()["database"] == "ok"
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
