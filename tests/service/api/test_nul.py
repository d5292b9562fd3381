"""NUL, which PostgreSQL keeps in no text, wherever a client may put it."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.service.api.resources import COLUMNS

FIT = {"dataset": {"columns": COLUMNS}, "target": "y", "steps": 1}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/datasets/%00", 404),
        ("/v1/fits/fit_%00", 404),
        ("/v1/fits/fit_%00/artifacts/weights", 404),
        ("/v1/batches/%00", 404),
        ("/v1/lr-range-tests/%00", 404),
        ("/v1/fits?after=%00", 422),
        ("/v1/fits?ids=%00", 422),
        ("/v1/fits?status=%00", 422),
        ("/v1/fits?tag=%00", 200),
        ("/v1/datasets?metadata[key]=%00", 200),
    ],
)
def test_what_is_asked_for_is_not_there(http: FlaskClient, path: str, status: int) -> None:
    assert http.get(path).status_code == status


@pytest.mark.parametrize(
    ("path", "body", "pointer"),
    [
        ("/v1/datasets", {"columns": COLUMNS, "name": "a\0b"}, "/name"),
        ("/v1/batches", {"fits": [FIT], "name": "\0"}, "/name"),
        ("/v1/fits", FIT | {"dataset": "ds_\0"}, "/dataset"),
        ("/v1/fits", FIT | {"init": {"fit": "fit_\0"}}, "/init/fit"),
    ],
)
def test_what_could_not_be_kept_is_refused_with_its_place(
    http: FlaskClient, path: str, body: dict[str, Any], pointer: str
) -> None:
    answer = http.post(path, json=body)

    assert answer.status_code == 422, answer.text
    assert [place["pointer"] for place in answer.get_json()["errors"]] == [pointer]


@pytest.mark.parametrize(
    "changes", [{"tags": ["a\0"]}, {"metadata": {"a\0": "\0"}}, {"columns": {"x\0": [1.0]}}]
)
def test_what_can_be_kept_comes_back(http: FlaskClient, changes: dict[str, Any]) -> None:
    answer = http.post("/v1/datasets", json={"columns": COLUMNS} | changes)

    assert answer.status_code == 201, answer.text
    found = http.get(f"/v1/datasets/{answer.get_json()['id']}").get_json()
    if "columns" in changes:
        assert [column["name"] for column in found["columns"]] == ["x\0"]
    else:
        assert {name: found[name] for name in changes} == changes
