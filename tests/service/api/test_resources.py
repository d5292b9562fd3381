"""Datasets and fits over HTTP, from their making to their end."""

import pytest
from flask.testing import FlaskClient

from service import fits
from service.context import Context
from service.schemas.answers.datasets import Dataset, DatasetList
from service.schemas.answers.fits import Fit
from tests.service.api.resources import COLUMNS, create_dataset, create_fit, end


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


def test_an_unchanged_fit_is_304_and_a_changed_one_is_not(
    http: FlaskClient, context: Context
) -> None:
    fit = create_fit(http)
    tag = {"If-None-Match": http.get(f"/v1/fits/{fit['id']}").headers["ETag"]}

    assert http.get(f"/v1/fits/{fit['id']}", headers=tag).status_code == 304
    end(context, fit["id"])
    assert http.get(f"/v1/fits/{fit['id']}", headers=tag).status_code == 200


def test_an_unchanged_list_is_304_and_a_changed_one_is_not(http: FlaskClient) -> None:
    fit = create_fit(http)
    for path in ("/v1/fits", f"/v1/fits?ids={fit['id']}", "/v1/datasets"):
        tag = {"If-None-Match": http.get(path).headers["ETag"]}
        assert http.get(path, headers=tag).status_code == 304, path
    tag = {"If-None-Match": http.get("/v1/fits").headers["ETag"]}

    create_fit(http)

    assert http.get("/v1/fits", headers=tag).status_code == 200


def test_looked_up_by_their_ids_deleted_fits_are_gone_and_unknown_ones_not_there(
    http: FlaskClient, context: Context
) -> None:
    kept, deleted = create_fit(http)["id"], create_fit(http)["id"]
    end(context, deleted)
    assert http.delete(f"/v1/fits/{deleted}").status_code == 204

    gone = http.get(f"/v1/fits?ids={kept},{deleted}")
    unknown = http.get(f"/v1/fits?ids={kept},fit_x,{deleted}")

    assert (gone.status_code, unknown.status_code) == (410, 404)
    assert deleted in gone.get_json(force=True)["detail"]
    assert "fit_x" in unknown.get_json(force=True)["detail"]


def test_a_fits_checks_are_304_while_they_say_the_same_in_the_same_form(
    http: FlaskClient, context: Context
) -> None:
    fit = create_fit(http, checks=[{"target": "final_loss", "expected": 1}])
    url, gradescope = f"/v1/fits/{fit['id']}/checks", "application/vnd.gradescope+json"
    first = http.get(url)
    tag = {"If-None-Match": first.headers["ETag"]}

    unchanged = http.get(url, headers=tag)
    assert (unchanged.status_code, unchanged.data) == (304, b"")
    assert "Content-Type" not in unchanged.headers
    for answer in (first, unchanged):
        assert answer.headers["Cache-Control"] == "private, no-cache"
        assert "Accept" in answer.headers["Vary"]
    other = http.get(url, headers={**tag, "Accept": gradescope})
    assert (other.status_code, other.content_type) == (200, gradescope)
    end(context, fit["id"])
    assert http.get(url, headers=tag).status_code == 200


def test_a_fit_is_deleted_only_after_its_end(http: FlaskClient, context: Context) -> None:
    fit = create_fit(http)

    assert http.delete(f"/v1/fits/{fit['id']}").status_code == 409
    end(context, fit["id"])
    assert http.delete(f"/v1/fits/{fit['id']}").status_code == 204
    assert http.get(f"/v1/fits/{fit['id']}").status_code == 410


def test_a_dataset_in_use_is_not_deleted(http: FlaskClient) -> None:
    fit = create_fit(http)

    assert http.delete(f"/v1/datasets/{fit['dataset']['id']}").status_code == 409


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", True),
        ("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", False),
        (f"00-{'0' * 32}-b7ad6b7169203331-01", False),
        (f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01", False),
        ("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", False),
    ],
)
def test_a_trace_goes_with_the_fit_where_it_is_one(
    http: FlaskClient, context: Context, given: str, kept: bool
) -> None:
    body = {"dataset": {"columns": COLUMNS}, "target": "y", "steps": 3}

    fit = http.post("/v1/fits", json=body, headers={"traceparent": given}).get_json()

    assert fits.fit_row(context, fit["id"])["traceparent"] == (given if kept else None)
