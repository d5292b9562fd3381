"""A hostile client's paths, names, headers and keys: what they are to reach, they do not."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event, text
from werkzeug.test import TestResponse

from service.context import Context
from service.keys import create_key, digest_of, revoke_key
from service.limits import Limits
from service.settings import Settings
from service.tables.writers import WRITERS
from tests.logs import events_in, written_log
from tests.service.api.resources import COLUMNS, create_dataset, create_fit
from tests.service.api.test_idempotency import FIT
from tests.service.stored import stored
from tests.service.tables.given import NPZ, as_npz

SECRET = b"what no client may read"
# Ways from a place in the store to the file `escaped` beside the store.
UPWARDS = [
    "../../../escaped",
    "%2e%2e%2f%2e%2e%2f%2e%2e%2fescaped",
    "..%2f..%2f..%2fescaped",
    "..%252f..%252f..%252fescaped",
    "..%5c..%5c..%5cescaped",
    "....//....//....//escaped",
    "%2fescaped",
    "fit_x%2f..%2f..%2f..%2fescaped",
]
PLACES = [
    "/v1/datasets/{}",
    "/v1/datasets/{}/content",
    "/v1/fits/{}",
    "/v1/fits/{}/weights.json",
    "/v1/fits/{}/events",
    "/v1/batches/{}",
    "/v1/batches/{}/results.csv",
    "/v1/lr-range-tests/{}",
    "/v1/fits/{fit}/{}.json",
    "/v1/fits/{fit}/{}",
    "/v1/fits/{fit}/weights.{}",
    "/v1/fits/{fit}/plots/{}",
    "/v1/fits/{fit}/plots/{}.png",
    "/v1/fits/{fit}/plots/loss.{}",
    "/static/{}",
    "/docs/{}",
    "/{}",
]


@pytest.fixture
def beside(context: Context, tmp_path: Path) -> Iterator[None]:
    """Files beside the store and above it, which stay as they are, and none comes to them."""
    directories = [tmp_path, context.settings.data_dir, context.settings.data_dir / "objects"]
    for directory in directories:
        # Where objects are in a bucket, nothing has made it.
        directory.mkdir(exist_ok=True)
        for name in ("escaped", "escaped.json", "escaped.png"):
            (directory / name).write_bytes(SECRET)
    before = escaped(tmp_path)
    yield
    assert escaped(tmp_path) == before
    assert {path.read_bytes() for path in before} == {SECRET}
    assert [key for key in stored(context) if "escaped" in key] == []


def escaped(tmp_path: Path) -> list[Path]:
    """The files of that name, wherever one may have come to."""
    places = [tmp_path.parent, Path.cwd() / "service", Path.cwd() / "tests"]
    return sorted(path for place in places for path in place.rglob("*escaped*"))


def ways(tmp_path: Path) -> list[str]:
    """Ways to it as a name that nobody decodes."""
    return ["../../../escaped", "..\\..\\..\\escaped", f"{tmp_path}/escaped"]


@pytest.mark.usefixtures("beside")
def test_no_path_leads_out_of_the_store(http: FlaskClient, tmp_path: Path) -> None:
    fit = create_fit(http)["id"]

    for place in PLACES:
        for way in [*UPWARDS, f"{tmp_path}/escaped", f"%2f{tmp_path}%2fescaped"]:
            path = place.replace("{fit}", fit).replace("{}", way)
            for method in ("GET", "DELETE"):
                answer = http.open(path, method=method, follow_redirects=True)
                assert answer.status_code in (404, 405, 422), (method, path)
                assert SECRET not in answer.data


@pytest.mark.usefixtures("beside")
def test_no_id_in_a_body_leads_out_of_the_store(http: FlaskClient, tmp_path: Path) -> None:
    for way in (*ways(tmp_path), "ds_/../../escaped"):
        for changes in (
            {"dataset": way},
            {"init": {"fit": way}},
            {"validation": {"dataset": way}},
            {"target": way},
            {"features": [way]},
        ):
            answer = http.post("/v1/fits", json=FIT | changes)
            assert answer.status_code in (404, 422), (changes, answer.text)
            assert SECRET not in answer.data


@pytest.mark.usefixtures("beside")
def test_a_files_name_is_no_place(http: FlaskClient, context: Context, tmp_path: Path) -> None:
    def upload(part: str, file_name: str) -> int:
        data = {part: (io.BytesIO(b"x\n1\n"), file_name)}
        return http.post("/v1/datasets", data=data).status_code

    for way in ways(tmp_path):
        # Of a file's name only its end is looked at.
        assert upload("file", f"{way}.csv") == 201
        assert upload("file", way) == 415
        assert upload(way, "t.csv") == 422

    # One content is one object, whatever it was named.
    assert len(stored(context)) == 1


@pytest.mark.usefixtures("beside")
def test_the_names_in_an_archive_are_columns_and_no_places(
    http: FlaskClient, tmp_path: Path
) -> None:
    for way in ways(tmp_path):
        content = as_npz({way: [1.0]})

        answer = http.post("/v1/datasets", data=content, content_type=NPZ)

        assert answer.status_code == 201, answer.text
        assert [column["name"] for column in answer.get_json()["columns"]] == [way]


@pytest.mark.usefixtures("beside")
def test_a_name_or_a_key_of_a_request_is_no_place(http: FlaskClient, context: Context) -> None:
    way = "../../../escaped"
    headers = {"Idempotency-Key": way, "X-Request-Id": way}

    created = http.post("/v1/datasets", json={"columns": COLUMNS, "name": way}, headers=headers)

    assert created.status_code == 201
    assert http.get(f"/v1/datasets/{created.get_json()['id']}").get_json()["name"] == way
    assert len(stored(context)) == 1


# As a server hands headers on: each byte a character.
HOSTILE_VALUES = [
    "a\r\nX-Evil: 1",
    "a\nX-Evil: 1",
    "a\rX-Evil: 1\r\r",
    "a\x00\x1b[31m\x7f",
    "\u00e9vil",
    "\u00e2\u0080\u00a8X-Evil: 1",
    '"; X-Evil="1',
]
HEADERS = [
    "X-Request-Id", "traceparent", "Idempotency-Key", "Prefer", "Last-Event-ID", "Content-Type",
    "Content-Encoding", "Authorization", "If-None-Match", "Range", "Origin", "X-Forwarded-Host",
    "X-Forwarded-Proto", "Forwarded",
]  # fmt: skip


def clean(answer: TestResponse) -> TestResponse:
    """The answer, which has no header of the client's making, and is no crash."""
    assert answer.status_code < 500, answer.text
    for name, value in answer.headers:
        assert "evil" not in name.lower()
        assert re.fullmatch(r"[ -~]*", value), (name, value)
    assert "evil" not in str(answer.headers).lower()
    return answer


def with_header(http: FlaskClient, name: str, value: str, path: str, **more: Any) -> TestResponse:
    """As a server would hand the header on that lets every byte through."""
    variable = name.upper().replace("-", "_")
    if name != "Content-Type":
        variable = f"HTTP_{variable}"
    return http.open(path, environ_overrides={variable: value}, **more)


def test_no_header_makes_another_one(http: FlaskClient) -> None:
    dataset, fit = create_dataset(http)["id"], create_fit(http)["id"]
    so_far = {"Accept": "application/json"}

    for header, value in product(HEADERS, HOSTILE_VALUES):
        body = {"method": "POST", "json": {"columns": COLUMNS}}
        clean(with_header(http, header, value, "/v1/datasets", **body))
        clean(with_header(http, header, value, "/v1/fits", method="POST", json=FIT))
        clean(with_header(http, header, value, f"/v1/datasets/{dataset}/content"))
        clean(with_header(http, header, value, f"/v1/fits/{fit}/events", headers=so_far))


def test_neither_a_boundary_nor_the_type_of_a_part_makes_a_header(http: FlaskClient) -> None:
    for value in HOSTILE_VALUES:
        of_part = value.encode("latin-1")
        for content_type, part_type in (
            (f"multipart/form-data; boundary={value}", b"text/csv"),
            (f"multipart/form-data; boundary=b; charset={value}", b"text/csv"),
            ("multipart/form-data; boundary=b", of_part),
            ("multipart/form-data; boundary=b", b"text/csv; charset=" + of_part),
        ):
            body = (
                b'--b\r\nContent-Disposition: form-data; name="file"; filename="t.csv"\r\n'
                b"Content-Type: " + part_type + b"\r\n\r\nx\n1\n\r\n--b--\r\n"
            )
            sent = {"method": "POST", "data": body}
            clean(with_header(http, "Content-Type", content_type, "/v1/datasets", **sent))


def test_no_name_makes_a_header(http: FlaskClient) -> None:
    for name in ("a\r\nX-Evil: 1", "\r\r\n\n", "a\x1b[31m", 'e";x="vil\\', "\u2028évil 🎈"):
        columns = {f"{name}x": [1, 2], "y": [1, 2]}
        labels = {"name": name, "tags": [name], "metadata": {"k": name}}
        asked = {"query_string": {"name": name}, "json": {"columns": columns}}
        fits = {"fits": [FIT | {"tags": [name]}], "name": name}

        made = clean(http.post("/v1/datasets", json={"columns": columns} | labels))
        again = clean(http.post("/v1/datasets", **asked))
        batch = clean(http.post("/v1/batches", json=fits))

        assert (made.status_code, again.status_code, batch.status_code) == (201, 201, 202)
        assert made.get_json()["name"] == again.get_json()["name"] == name
        for form in WRITERS:
            place = f"/v1/datasets/{made.get_json()['id']}/content"
            assert clean(http.get(place, headers={"Accept": form})).status_code == 200
        for form in ("csv", "ndjson"):
            clean(http.get(f"/v1/batches/{batch.get_json()['id']}/results.{form}"))


def test_a_path_or_a_query_comes_into_a_header_quoted(http: FlaskClient) -> None:
    label = 'a\r\nX-Evil: 1>; rel="prev", <é'
    for _ in range(2):
        create_dataset(http, tags=[label])

    page = http.get("/v1/datasets", query_string={"tag": label, "limit": 1})
    moved = http.get("//v1//datasets/%0d%0aX-Evil:1")

    for answer, name in ((page, "Link"), (moved, "Location")):
        value = answer.headers.get(name, "")
        assert re.fullmatch(r"[ -~]*", value)
        assert "X-Evil" not in answer.headers
    assert page.headers["Link"].count("<") == page.headers["Link"].count(">") == 1


FORGED = '{"event": "forged"}'
LOG_TEXTS = [
    f"a\n{FORGED}\n",
    f"a\r\n{FORGED}",
    f"a\x85{FORGED}\u2028{FORGED}",
    '", "event": "forged", "x": "',
    "\x1b[2K\x1b[1A\x1b]0;forged\x07",
    "\x08\x7f\x9b31m",
]


@pytest.fixture
def written(app: Flask, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What the app logs."""
    assert app.extensions["thalweg"].settings == settings
    return written_log(settings, monkeypatch)


@contextmanager
def without_table(context: Context, name: str) -> Iterator[None]:
    """A database that has lost a table."""
    with context.database.write() as connection:
        connection.execute(text(f"ALTER TABLE {name} RENAME TO lost"))
    yield
    with context.database.write() as connection:
        connection.execute(text(f"ALTER TABLE lost RENAME TO {name}"))


def test_each_request_is_one_line_of_the_log(http: FlaskClient, written: io.StringIO) -> None:
    answers = []
    for hostile in LOG_TEXTS:
        named = {"json": {"columns": {hostile: [1]}, "name": hostile}}
        labels = FIT | {"tags": [hostile], "metadata": {"k": hostile}}
        upload = {"file": (io.BytesIO(b"x"), f"{hostile}.txt")}
        as_header = hostile.encode().decode("latin-1")
        method = {"REQUEST_METHOD": f"BREW{as_header}"}
        answers += [
            http.get(f"/v1/{quote(hostile)}"),
            http.get("/v1/fits", query_string={"tag": hostile, hostile: "1"}),
            http.get("/v1/fits", environ_overrides=method),
            http.post("/v1/datasets", **named),
            http.post("/v1/datasets", data=upload),
            http.post("/v1/fits", json=labels),
            *(
                with_header(http, header, as_header, "/v1/fits", method="POST", json=FIT)
                for header in (*HEADERS, "User-Agent", "Referer")
            ),
        ]

    logged = events_in(written)

    events = [one for one in logged if one["event"] == "request"]
    assert {one["event"] for one in logged} == {"request", "fit_submitted"}
    assert len(events) == len(answers)
    assert [one["status"] for one in events] == [answer.status_code for answer in answers]
    assert {f"/v1/{hostile}" for hostile in LOG_TEXTS} < {one["path"] for one in events}
    # Each has the id that its client was told.
    ids = [answer.headers["X-Request-Id"] for answer in answers]
    assert [one["request_id"] for one in events] == ids


def test_an_error_with_a_clients_text_is_one_line_of_the_log(
    http: FlaskClient, context: Context, written: io.StringIO
) -> None:
    with without_table(context, "datasets"):
        for hostile in LOG_TEXTS:
            assert http.get(f"/v1/datasets/{quote(hostile)}").status_code == 503

    events = events_in(written)

    each = ["database_failed", "refused", "request"]
    assert [one["event"] for one in events] == each * len(LOG_TEXTS)
    assert all("exception" in one for one in events[::3])


@pytest.fixture
def keys(context: Context) -> dict[str, str]:
    """A key that holds, one that was revoked, and one that never was."""
    holds = create_key(context.database, "ada", ["read", "write"], Limits())
    revoked = create_key(context.database, "bob", ["read"], Limits())
    revoke_key(context.database, revoked["id"])
    wrong = f"{holds['key'][:-1]}{'A' if holds['key'][-1] != 'A' else 'B'}"
    return {"holds": holds["key"], "revoked": revoked["key"], "wrong": wrong}


def pieces(key: str) -> list[str]:
    """Eight characters at each place of the part of a key that is random."""
    secret = key.removeprefix("thalweg_")
    return [secret[i : i + 8] for i in range(len(secret) - 7)]


def test_no_key_is_ever_logged(
    http: FlaskClient, context: Context, written: io.StringIO, keys: dict[str, str]
) -> None:
    def ask() -> list[int]:
        return [
            http.get("/v1/fits", headers={"Authorization": given}).status_code
            for key in keys.values()
            for given in (f"Bearer {key}", f"bearer  {key}", key, f"Basic {key}", f"Bearer a {key}")
        ]

    # given that all goes well, and then that the database fails
    assert {200, 401} == set(ask())
    with without_table(context, "api_keys"):
        assert 503 in ask()

    log = written.getvalue()
    assert "database_failed" in log
    assert [piece for key in keys.values() for piece in pieces(key) if piece in log] == []


def test_a_key_is_looked_up_by_its_digest_alone(
    app: Flask, http: FlaskClient, keys: dict[str, str]
) -> None:
    sent: list[tuple[str, str]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        sent.append((statement, repr(parameters)))

    engine = app.extensions["thalweg"].database.engine
    http.get("/v1/fits")
    # when keys are sent of which nothing, nearly all, and all is right
    tried = {"far": "thalweg_" + "x" * 43, "near": keys["wrong"], "right": keys["holds"]}
    found = {}
    event.listen(engine, "before_cursor_execute", note)
    for name, key in tried.items():
        del sent[:]
        http.get("/v1/fits/fit_x", headers={"Authorization": f"Bearer {key}"})
        found[name] = [one for one in sent if "api_keys" in one[0]]
        # then the database is told the key's digest, and nothing of the key
        assert [digest_of(key) in parameters for _, parameters in found[name]] == [True]
        assert [piece for piece in pieces(key) if piece in repr(sent)] == []
    event.remove(engine, "before_cursor_execute", note)

    # and it is asked in the same way for each
    assert len({statement for ((statement, _),) in found.values()}) == 1
