"""Uploads over HTTP: every encoding and form, what is refused, and what stays behind."""

import gzip
import io
import threading
import time
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet
import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from service.api.app import create_app
from service.context import Context
from service.schemas.answers.datasets import Dataset
from service.settings import Settings
from service.tables.writers import WRITERS
from tests.service.stored import stored
from tests.service.tables.given import CSV, FORMS

TABLE: dict[str, list[Any]] = {"x": [0.1, -2.5, 3.0], "c": ["a", "b,c", "a"]}
JSON = "application/json"


def zstd(content: bytes) -> bytes:
    packed: bytes = pa.compress(content, codec="zstd", asbytes=True)
    return packed


def post(http: FlaskClient, content: bytes, media_type: str, **headers: str) -> TestResponse:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return http.post("/v1/datasets", data=content, content_type=media_type, headers=named)


def by_columns(http: FlaskClient) -> TestResponse:
    # Flask's client would sort the columns.
    return post(http, orjson.dumps({"columns": TABLE}), JSON)


def digest(answer: TestResponse) -> str:
    assert answer.status_code == 201, answer.text
    Dataset.model_validate(answer.get_json())
    return str(answer.get_json()["digest"])


def places(answer: TestResponse) -> list[tuple[Any, ...]]:
    assert answer.status_code == 422, answer.text
    named = answer.get_json()["errors"]
    assert len(named) <= 20
    return [tuple(place.get(k) for k in ("code", "row", "column", "pointer")) for place in named]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_the_same_dataset_in_every_encoding(http: FlaskClient, form: str) -> None:
    content, media_type = FORMS[form](TABLE)
    expected = digest(by_columns(http))

    for encoded, encoding in (
        (content, "identity"),
        (gzip.compress(content, mtime=0), "gzip"),
        (zstd(content), "zstd"),
    ):
        answer = post(http, encoded, media_type, Content_Encoding=encoding)
        assert digest(answer) == expected


@pytest.mark.parametrize(
    ("file_name", "part_type", "form"),
    [
        ("table.csv", "application/octet-stream", "csv"),
        ("table", "text/csv", "csv"),
        ("TABLE.PARQUET", "application/octet-stream", "parquet"),
        ("table.feather", "application/octet-stream", "arrow file"),
        ("table.arrows", "application/octet-stream", "arrow stream"),
        ("table.jsonl", "application/octet-stream", "ndjson"),
        ("table.npz", "application/octet-stream", "npz"),
    ],
)
def test_a_file_part_is_known_by_its_type_or_its_name(
    http: FlaskClient, file_name: str, part_type: str, form: str
) -> None:
    content, _ = FORMS[form](TABLE)

    answer = http.post("/v1/datasets", data={"file": (io.BytesIO(content), file_name, part_type)})

    assert digest(answer) == digest(by_columns(http))


def test_json_comes_as_a_file_too(http: FlaskClient) -> None:
    content = b'{"columns": {"x": [1, 2]}, "name": "inside"}'

    answer = http.post("/v1/datasets?name=n", data={"file": (io.BytesIO(content), "t.json")})

    assert answer.get_json()["name"] == "inside"


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"file": "a field, not a file"},
        {"other": [b"x\n1\n"]},
        {"file": [b"x\n1\n"], "more": "1"},
        {"file": [b"x\n1\n", b"x\n2\n"]},
    ],
)
def test_one_file_part_is_needed(http: FlaskClient, context: Context, parts: Any) -> None:
    data = {
        name: part if isinstance(part, str) else [(io.BytesIO(one), "t.csv") for one in part]
        for name, part in parts.items()
    }

    answer = http.post("/v1/datasets", data=data, content_type="multipart/form-data")

    assert answer.status_code == 422
    assert "'file'" in answer.get_json()["detail"]
    assert stored(context) == []


@pytest.mark.parametrize(
    ("content", "media_type", "encoding", "status"),
    [
        (b"x\n1\n", "application/msword", "identity", 415),
        (b"x\n1\n", CSV, "br", 415),
        (b"x\n1\n", CSV, "gzip, gzip", 415),
        (b"x\n1\n", CSV, "gzip", 400),
        (gzip.compress(b"x\n1\n" * 1000, mtime=0)[:-9], CSV, "gzip", 400),
        (zstd(b"x\n1\n" * 1000)[:-3], CSV, "zstd", 400),
        (gzip.compress(b'{"columns": {}', mtime=0), JSON, "gzip", 400),
        (b"--b\r\nno part", "multipart/form-data; boundary=b", "identity", 400),
        (b"--b\r\n", "multipart/form-data", "identity", 400),
    ],
)
def test_what_is_no_upload_is_refused(
    http: FlaskClient, content: bytes, media_type: str, encoding: str, status: int
) -> None:
    answer = post(http, content, media_type, Content_Encoding=encoding)

    assert answer.status_code == status, answer.text
    assert http.get("/v1/datasets").get_json()["data"] == []


def test_unknown_files_are_415(http: FlaskClient) -> None:
    answer = http.post("/v1/datasets", data={"file": (io.BytesIO(b"x"), "table.xlsx")})

    assert answer.status_code == 415
    assert ".parquet" in answer.get_json()["detail"]


@pytest.fixture
def small(settings: Settings, context: Context) -> Iterator[FlaskClient]:
    """An API that takes bodies of 10,000 bytes, JSON of 1,000."""
    app = create_app(
        settings.model_copy(update={"max_request_bytes": 10_000, "max_json_bytes": 1_000})
    )
    yield app.test_client()
    app.extensions["thalweg"].close()


def rows_of(n_bytes: int) -> bytes:
    return b"x\n" + b"1\n" * (n_bytes // 2 - 1)


def test_bodies_past_the_limit_are_413_and_leave_nothing(
    small: FlaskClient, context: Context
) -> None:
    part = (io.BytesIO(rows_of(10_002)), "t.csv")
    wide = b'{"columns": {"x": [' + b"1, " * 500 + b"1]}}"
    for answer in (
        post(small, rows_of(10_002), CSV),
        post(small, gzip.compress(rows_of(10_002)), CSV, Content_Encoding="gzip"),
        post(small, zstd(rows_of(1_000_000)), CSV, Content_Encoding="zstd"),
        small.post("/v1/datasets", data={"file": part}),
        small.post("/v1/datasets", data={"file": (io.BytesIO(wide), "t.json")}),
        post(small, wide, JSON),
        post(small, gzip.compress(wide), JSON, Content_Encoding="gzip"),
        small.post("/v1/fits", data=wide, content_type=JSON),
        post(small, FORMS["npz"]({"x": np.zeros(100_000)})[0], "application/x-npz"),
    ):
        assert answer.status_code == 413, answer.text
        assert answer.get_json()["code"] == "body_too_large"
    assert post(small, rows_of(10_000), CSV).status_code == 201
    assert len(stored(context)) == 1


def test_a_body_without_an_announced_length_is_counted(small: FlaskClient) -> None:
    answer = small.post(
        "/v1/datasets",
        input_stream=io.BytesIO(rows_of(20_000)),
        content_type=CSV,
        environ_overrides={"wsgi.input_terminated": True},
    )

    assert answer.status_code == 413


@pytest.mark.parametrize("media_type", [CSV, JSON, "multipart/form-data; boundary=b"])
def test_a_body_that_is_cut_off_leaves_nothing(
    http: FlaskClient, context: Context, media_type: str
) -> None:
    answer = http.post(
        "/v1/datasets",
        input_stream=io.BytesIO(b"x\n1\n2\n"),
        content_type=media_type,
        # As gunicorn hands bodies over: it does not look whether they are whole.
        environ_overrides={"wsgi.input_terminated": True, "CONTENT_LENGTH": "1000"},
    )

    assert answer.status_code == 400
    assert "cut off" in answer.get_json()["detail"]
    assert stored(context) == []


def test_a_bomb_is_stopped_while_it_inflates(small: FlaskClient, context: Context) -> None:
    squeeze = zlib.compressobj(9, wbits=31)
    bomb = b"".join([*(squeeze.compress(b"1\n" * 500_000) for _ in range(1000)), squeeze.flush()])
    began = time.monotonic()
    limited = small.application.config  # the wire limit must not be what stops it
    limited["MAX_CONTENT_LENGTH"] = None

    answer = post(small, bomb, CSV, Content_Encoding="gzip")

    assert answer.status_code == 413
    assert time.monotonic() - began < 5
    assert stored(context) == []


def test_a_wrong_table_is_told_with_row_and_column(http: FlaskClient, context: Context) -> None:
    answer = post(http, b"x,y\n1,2\n3,oops\n", CSV)

    assert places(answer) == [("not_a_number", 1, "y", None)]
    assert stored(context) == []


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"columns": {"x": [1, "a"]}}, ("wrong_type", 1, "x", "/columns/x/1")),
        ({"columns": {"a/b": [1, None]}}, ("missing_value", 1, "a/b", "/columns/a~1b/1")),
        ({"columns": {"x": [1], "y": [1, 2]}}, ("ragged_column", None, "x", "/columns/x")),
        ({"rows": [{"x": 1}, {"x": True}]}, ("wrong_type", 1, "x", "/rows/1/x")),
        ({"rows": [{"x": 1}, {"y": 1}]}, ("ragged_row", 1, None, "/rows/1")),
        ({"rows": [{" ": 1}]}, ("empty_column_name", None, " ", "/rows/0/ ")),
        ({"generator": {"kind": "typo"}}, ("unknown_kind", None, None, "/generator/kind")),
        ({"generator": {"kind": "xor"}}, ("required", None, None, "/generator/n")),
        (
            {"generator": {"kind": "xor", "n": 10**9}},
            ("too_many_rows", None, None, "/generator/n"),
        ),
        (
            {"generator": {"kind": "xor", "n": 5, "nois": 1}},
            ("unknown_field", None, None, "/generator/nois"),
        ),
        (
            {"generator": {"kind": "linear", "n": 5, "x": {"uniform": [1, -1]}}},
            ("descending", None, None, "/generator/x/uniform"),
        ),
        ({"columns": {}}, ("too_short", None, None, "/columns")),
        ({"columns": {"x": []}}, ("too_short", None, None, "/columns/x")),
        ({"rows": []}, ("too_short", None, None, "/rows")),
        ({}, ("one_form", None, None, "")),
        ({"columns": {"x": [1]}, "rows": [{"x": 1}]}, ("one_form", None, None, "")),
    ],
)
def test_a_wrong_table_in_json_is_pointed_at(
    http: FlaskClient, body: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    alone = http.post("/v1/datasets", json=body)
    inside = http.post("/v1/fits", json={"dataset": body, "target": "y", "steps": 1})

    assert places(alone) == [expected]
    assert places(inside) == [(*expected[:3], f"/dataset{expected[3]}")]


def test_unusable_rows_are_dropped_when_asked_for(http: FlaskClient) -> None:
    url = "/v1/datasets?missing=drop"
    uploaded = http.post(url, data=b"x,y\n1,2\n,3\n4,nan\n5,6\n", content_type=CSV)
    inline = http.post(url, json={"columns": {"x": [1, None, 5], "y": [2, 3, 6]}})

    assert (uploaded.get_json()["n_rows"], uploaded.get_json()["n_dropped"]) == (2, 2)
    assert (inline.get_json()["n_rows"], inline.get_json()["n_dropped"]) == (2, 1)
    assert digest(uploaded) == digest(inline)
    found = http.get(uploaded.headers["Location"]).get_json()
    assert found["n_dropped"] == 2


def test_a_generator_is_a_dataset_like_any_other(http: FlaskClient) -> None:
    generator = {
        "kind": "linear", "n": 100, "seed": 42, "x": {"uniform": [-1, 1]},
        "coef": [2], "intercept": 3, "noise": {"uniform": [0, 1]},
    }  # fmt: skip

    first = http.post("/v1/datasets", json={"generator": generator})
    drawn = http.get(f"{first.headers['Location']}/content", headers={"Accept": JSON}).get_json()

    assert list(drawn["columns"]) == ["x", "y"]
    assert digest(post(http, orjson.dumps(drawn), JSON)) == digest(first)


@pytest.mark.parametrize("media_type", WRITERS)
def test_content_comes_back_in_every_form(http: FlaskClient, media_type: str) -> None:
    made = by_columns(http)
    url = f"{made.headers['Location']}/content"

    answer = http.get(url, headers={"Accept": media_type})

    assert answer.status_code == 200
    assert answer.mimetype == media_type
    assert "Accept" in answer.vary
    assert digest(post(http, answer.data, media_type)) == digest(made)
    again = http.get(url, headers={"Accept": media_type, "If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


def test_content_is_negotiated(http: FlaskClient) -> None:
    url = by_columns(http).headers["Location"] + "/content"

    assert http.get(url).mimetype == CSV
    assert http.get(url, headers={"Accept": "*/*"}).mimetype == CSV
    assert http.get(url, headers={"Accept": "text/csv;q=0.5, application/json"}).mimetype == JSON
    assert http.get(url, headers={"Accept": "image/png"}).status_code == 406
    tags = {http.get(url, headers={"Accept": name}).headers["ETag"] for name in WRITERS}
    assert len(tags) == len(WRITERS)
    assert http.get("/v1/datasets/ds_none/content").status_code == 404


def test_parquet_content_is_read_by_others(http: FlaskClient) -> None:
    url = by_columns(http).headers["Location"] + "/content"
    content = http.get(url, headers={"Accept": "application/vnd.apache.parquet"}).data

    assert pyarrow.parquet.read_table(io.BytesIO(content)).to_pydict() == TABLE


def test_equal_content_is_kept_once_until_its_last_dataset_goes(
    http: FlaskClient, context: Context
) -> None:
    first = by_columns(http)
    second = post(http, *FORMS["parquet"](TABLE))
    assert first.get_json()["id"] != second.get_json()["id"]
    assert len(stored(context)) == 1

    http.delete(first.headers["Location"])
    content = http.get(f"{second.headers['Location']}/content")
    assert content.data.startswith(b'"x","c"\n')
    http.delete(second.headers["Location"])

    assert stored(context) == []


def test_equal_content_comes_and_goes_at_the_same_moment(app: Flask, context: Context) -> None:
    broken: list[str] = []

    def come_and_go() -> None:
        with app.test_client() as http:
            for _ in range(10):
                url = by_columns(http).headers["Location"]
                if http.get(f"{url}/content").status_code != 200:
                    broken.append(url)
                http.delete(url)

    threads = [threading.Thread(target=come_and_go) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert broken == []
    assert stored(context) == []
