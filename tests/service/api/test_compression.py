"""Answers in the coding that a client asks for, and never in one that it does not."""

import gzip
import os
import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from flask import Flask, Response
from flask.testing import FlaskClient
from werkzeug.test import TestResponse
from werkzeug.wrappers import Response as AnyResponse

from service.api.responses import download, streamed
from service.context import Context
from tests.service.api.batch_requests import create as create_batch
from tests.service.api.resources import COLUMNS, create_fit, end
from tests.service.api.test_idempotency import post

NDJSON = "application/x-ndjson"
LARGE = {"columns": {"x": [i / 7 for i in range(2_000)]}}
MANY = {"seed": list(range(250))}


def inflated_zstd(content: bytes) -> bytes:
    whole: bytes = pa.CompressedInputStream(pa.BufferReader(content), "zstd").read()
    return whole


INFLATED: dict[str | None, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "zstd": inflated_zstd,
    None: bytes,
}


def get(http: FlaskClient, path: str, accepted: str, **headers: str) -> TestResponse:
    return http.get(path, headers={"Accept-Encoding": accepted} | headers)


def content_of(answer: AnyResponse) -> bytes:
    """What the answer says, decoded as it says."""
    if "Content-Length" in answer.headers:
        assert answer.headers["Content-Length"] == str(len(answer.data))
    return INFLATED[answer.headers.get("Content-Encoding")](answer.data)


def ended(http: FlaskClient, context: Context) -> str:
    """The path of a fit that has ended, and has a long trajectory."""
    fit = create_fit(http, record={"weights": True})
    n = 1_000
    end(context, fit["id"], trajectory={"step": np.arange(n), "weight": np.linspace(0, 1, n)})
    return f"/v1/fits/{fit['id']}"


@pytest.fixture
def table(http: FlaskClient) -> str:
    """The path of a dataset whose content is worth compressing."""
    made = http.post("/v1/datasets", json=LARGE)
    return f"/v1/datasets/{made.get_json()['id']}/content"


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("gzip", "gzip"),
        ("zstd", "zstd"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("zstd;q=0.5, gzip", "gzip"),
        ("GZIP;q=0.001", "gzip"),
        ("gzip, identity", "gzip"),
        ("*", "zstd"),
        ("zstd;q=0, *;q=0.1", "gzip"),
        ("identity;q=0", None),
        ("identity;q=0, gzip", "gzip"),
        ("identity, gzip;q=0.5", None),
        ("*;q=0.9, gzip;q=0.5, zstd;q=0.2", None),
        ("gzip;q=0", None),
        ("gzip;q=0, zstd;q=0", None),
        ("*;q=0", None),
        ("deflate, br", None),
        ("gzip;q=wrong", None),
        ("", None),
    ],
)
def test_the_client_chooses(
    http: FlaskClient, table: str, accepted: str, coding: str | None
) -> None:
    plain = http.get(table)

    answer = get(http, table, accepted)

    assert answer.headers.get("Content-Encoding") == coding
    assert content_of(answer) == plain.data
    assert {"Accept", "Accept-Encoding"} == set(answer.vary)
    assert (len(answer.data) < len(plain.data)) == (coding is not None)


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_every_text_is_compressed(http: FlaskClient, context: Context, coding: str) -> None:
    fit = ended(http, context)
    batch = create_batch(http, grid=MANY)["id"]
    many_wrong = {f"wrong{i}": 1 for i in range(100)}

    for path in (
        fit, "/v1/fits", f"{fit}/trajectory.json", "/metrics",
        f"/v1/batches/{batch}/results.ndjson", f"/v1/batches/{batch}/results.csv",
        "/docs/swagger-ui-bundle.js", "/pages/front.css", "/openapi.json", "/openapi.yaml",
    ):  # fmt: skip
        with http.get(path) as plain, get(http, path, coding) as answer:
            assert answer.status_code == 200, path
            assert answer.headers["Content-Encoding"] == coding, path
            assert len(answer.data) < len(plain.data), path
            # What is counted changes.
            assert path == "/metrics" or content_of(answer) == plain.data, path
            assert "Accept-Encoding" in answer.vary, path
            assert "Accept-Encoding" in plain.vary, path
    refused = http.post("/v1/fits", json=many_wrong, headers={"Accept-Encoding": coding})
    assert (refused.status_code, refused.headers["Content-Encoding"]) == (422, coding)
    assert b'"errors":[' in content_of(refused)


def test_what_would_not_shrink_is_left_as_it_is(http: FlaskClient, context: Context) -> None:
    fit = ended(http, context)
    batch = create_batch(http, grid=MANY)["id"]

    for path in (
        f"{fit}/trajectory.npz", f"{fit}/weights.safetensors", f"{fit}/history.parquet",
        f"/v1/batches/{batch}/results.parquet", "/docs/favicon-32x32.png",
    ):  # fmt: skip
        with get(http, path, "gzip, identity;q=0") as answer:
            assert answer.status_code == 200, path
            assert "Content-Encoding" not in answer.headers, path
            assert "Accept-Encoding" not in answer.vary, path


@pytest.mark.parametrize(
    ("media_type", "shrinks"),
    [
        ("image/svg+xml", True),
        ("application/problem+json", True),
        ("application/vnd.gradescope+json; charset=utf-8", True),
        ("image/png", False),
        ("image/gif", False),
        ("video/mp4", False),
        ("application/zip", False),
        ("application/octet-stream", False),
        ("application/vnd.apache.arrow.stream", False),
        ("text/event-stream; charset=utf-8", False),
    ],
)
def test_the_type_decides(app: Flask, http: FlaskClient, media_type: str, shrinks: bool) -> None:
    app.add_url_rule("/typed", view_func=lambda: Response(b"x" * 5_000, content_type=media_type))

    assert ("Content-Encoding" in get(http, "/typed", "gzip").headers) == shrinks


def test_events_are_never_held_back(http: FlaskClient, context: Context) -> None:
    answer = get(http, f"{ended(http, context)}/events", "gzip, identity;q=0")

    assert answer.mimetype == "text/event-stream"
    assert "Content-Encoding" not in answer.headers
    assert answer.data.startswith(b"retry:")


def test_a_small_answer_stays_as_it_is_unless_that_is_refused(http: FlaskClient) -> None:
    small = get(http, "/livez", "gzip")
    refusing = get(http, "/livez", "gzip, identity;q=0")

    assert "Content-Encoding" not in small.headers
    assert small.headers["Vary"] == "Accept-Encoding"
    assert refusing.headers["Content-Encoding"] == "gzip"
    assert content_of(refusing) == small.data


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_each_coding_has_a_strong_tag_of_its_own(
    http: FlaskClient, table: str, coding: str
) -> None:
    plain, answer = http.get(table), get(http, table, coding)
    tags = plain.headers["ETag"], answer.headers["ETag"]

    # then each is known again, by who takes both
    assert tags[0] != tags[1]
    assert not tags[1].startswith("W/")
    for tag in (*tags, f'"other", {tags[1]}', f"W/{tags[1]}"):
        again = get(http, table, coding, **{"If-None-Match": tag})
        assert (again.status_code, again.data) == (304, b""), tag
        assert again.headers["ETag"] in tag
        assert "Accept-Encoding" in again.vary
        assert "Content-Encoding" not in again.headers
        assert "Content-Length" not in again.headers
    # but what is compressed is none of the forms that others can read
    other = "gzip" if coding == "zstd" else "zstd"
    for accepted in ("identity", other):
        assert get(http, table, accepted, **{"If-None-Match": tags[1]}).status_code == 200
    assert get(http, table, coding, **{"If-None-Match": '"other"'}).status_code == 200


def test_a_state_is_known_in_every_coding(http: FlaskClient) -> None:
    path = f"/v1/fits/{create_fit(http)['id']}"
    tags = [get(http, path, coding).headers["ETag"] for coding in ("gzip", "zstd", "identity")]

    # A weak tag is that of the state, however it is written.
    assert len(set(tags)) == 1
    for coding in ("gzip", "zstd", "identity"):
        assert get(http, path, coding, **{"If-None-Match": tags[0]}).status_code == 304


def test_a_part_is_one_of_the_content_as_it_is(http: FlaskClient, context: Context) -> None:
    path = f"{ended(http, context)}/trajectory.json"
    plain, whole = http.get(path), get(http, path, "gzip")
    wanted = {"Range": "bytes=0-1999"}

    part = get(http, path, "gzip", **wanted)
    same = get(http, path, "gzip", **wanted, **{"If-Range": plain.headers["ETag"]})
    # whoever has the beginning of what was compressed gets all of it anew
    other = get(http, path, "gzip", **wanted, **{"If-Range": whole.headers["ETag"]})

    for answer in (part, same):
        assert (answer.status_code, answer.data) == (206, plain.data[:2000])
        assert "Content-Encoding" not in answer.headers
        assert answer.headers["ETag"] == plain.headers["ETag"]
    assert plain.headers["Accept-Ranges"] == "bytes"
    assert "Accept-Ranges" not in whole.headers
    assert (other.status_code, content_of(other)) == (200, plain.data)


def test_head_says_what_get_would(http: FlaskClient, context: Context, table: str) -> None:
    for path in (ended(http, context), "/v1/fits", table, "/docs/docs.js", "/"):
        for coding in ("gzip", "zstd", "identity"):
            with get(http, path, coding) as whole:
                headers = {"Accept-Encoding": coding}
                with http.head(path, headers=headers) as head:
                    assert head.data == b""
                for name in ("Content-Encoding", "Content-Length", "ETag", "Vary"):
                    assert head.headers.get(name) == whole.headers.get(name), (path, name)


def test_nothing_has_no_coding(http: FlaskClient) -> None:
    made = http.post("/v1/datasets", json={"columns": COLUMNS})

    gone = http.delete(made.headers["Location"], headers={"Accept-Encoding": "gzip, identity;q=0"})

    assert (gone.status_code, gone.data) == (204, b"")
    assert "Content-Encoding" not in gone.headers


def test_a_replayed_answer_is_in_the_coding_of_its_own_request(http: FlaskClient) -> None:
    body: dict[str, Any] = {"dataset": {"columns": COLUMNS}, "target": "y", "steps": 3}
    answers = [
        post(http, "/v1/fits", body, "key-1", **{"Accept-Encoding": accepted})
        for accepted in ("zstd", "gzip", "identity", "zstd")
    ]

    codings = [answer.headers.get("Content-Encoding") for answer in answers]
    assert codings == ["zstd", "gzip", None, "zstd"]
    assert len({content_of(answer) for answer in answers}) == 1
    assert [answer.headers.get("Idempotent-Replayed") for answer in answers] == [
        None,
        *["true"] * 3,
    ]


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
@pytest.mark.parametrize("send", [download, partial(streamed, tag="a tag")])
def test_a_stream_stays_one(
    app: Flask, http: FlaskClient, send: Callable[..., Response], coding: str
) -> None:
    # given far more than memory should hold, of which each piece is made when it is asked for
    n_made = 0

    def lines() -> Iterator[bytes]:
        nonlocal n_made
        for n_made in range(1, 50_001):  # noqa: B007  # What was made is looked at outside.
            yield os.urandom(600).hex().encode() + b"\n"

    app.add_url_rule("/lines", view_func=lambda: send(lines(), NDJSON, "lines.ndjson"))
    tracemalloc.start()

    # when its beginning is read
    with http.get("/lines", headers={"Accept-Encoding": coding}, buffered=False) as answer:
        assert answer.headers["Content-Encoding"] == coding
        assert "Content-Length" not in answer.headers
        pieces = answer.iter_encoded()
        first = next(pieces)
        assert n_made < 50_000

        # then the rest comes through little memory, and is all of it
        n_bytes = 0
        inflate = pa.CompressedInputStream(pa.PythonFile(_Pieces(first, pieces), "r"), coding)
        while piece := inflate.read(65_536):
            n_bytes += len(piece)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert n_bytes == 50_000 * 1_201
    assert most < 10 * 1024**2


class _Pieces:
    """A file of what an iterator gives."""

    closed = False

    def __init__(self, first: bytes, rest: Iterator[bytes]) -> None:
        self._left = first
        self._rest = rest

    def read(self, size: int) -> bytes:
        if not self._left:
            self._left = next(self._rest, b"")
        taken, self._left = self._left[:size], self._left[size:]
        return taken

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("n_read", [0, 1])
def test_who_leaves_early_leaves_nothing_open(app: Flask, http: FlaskClient, n_read: int) -> None:
    # given a stream that holds something until it is closed
    closed: list[str] = []

    class Held:
        def __iter__(self) -> Iterator[bytes]:
            return iter([b"x" * 100_000] * 100)

        def close(self) -> None:
            closed.append("held")

    app.add_url_rule("/held", view_func=lambda: app.response_class(Held(), mimetype=NDJSON))

    answer = http.get("/held", headers={"Accept-Encoding": "zstd"}, buffered=False)
    for _ in range(n_read):
        next(iter(answer.response))
    answer.close()

    assert closed == ["held"]


def test_a_stream_that_breaks_off_has_no_end(app: Flask, http: FlaskClient) -> None:
    def broken() -> Iterator[bytes]:
        yield b"x" * 1_000_000
        raise ConnectionError("the store is away")

    app.add_url_rule("/broken", view_func=lambda: download(broken(), NDJSON, "broken"))

    answer = http.get("/broken", headers={"Accept-Encoding": "gzip"}, buffered=False)

    with pytest.raises(ConnectionError):
        list(answer.response)
