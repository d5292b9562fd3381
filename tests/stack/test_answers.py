"""Answers on the wire: compressed ones, and those to requests that never come to the app."""

import gzip
import json
import re
import socket

import httpx
import pyarrow as pa
import pytest

LONG = "x" * 9_000
PROBLEM = {"type", "title", "status", "detail", "instance", "code", "request_id"}


def exchange(url: str, sent: bytes) -> tuple[int, dict[str, str], bytes]:
    """The status, headers and body that come back until the service hangs up."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(sent)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    return int(first.split(" ")[1]), headers, body


@pytest.mark.parametrize(
    ("head", "status", "code"),
    [
        ("nonsense", 400, "bad_request"),
        ("GET / HTTP/7.7", 400, "bad_request"),
        ("G@T / HTTP/1.1", 400, "bad_request"),
        ("GET / HTTP/1.1\r\nHost x", 400, "bad_request"),
        ("GET / HTTP/1.1\r\nna me: x", 400, "bad_request"),
        ("GET / HTTP/1.1\r\na: 1\r\n folded", 400, "bad_request"),
        ("POST /v1/fits HTTP/1.1\r\nContent-Length: -1", 400, "bad_request"),
        (f"GET /{LONG} HTTP/1.1", 414, "request_uri_too_long"),
        ("POST / HTTP/1.1\r\nExpect: nothing", 417, "expectation_failed"),
        (f"GET / HTTP/1.1\r\na: {LONG}", 431, "request_header_fields_too_large"),
        ("GET / HTTP/1.1\r\n" + "a: x\r\n" * 101 + "b: x", 431, "request_header_fields_too_large"),
        ("POST / HTTP/1.1\r\nTransfer-Encoding: what", 501, "not_implemented"),
        ("GET /<b>'\"\xe9 HTTP/1.1\r\n<i>: \xe9", 400, "bad_request"),
    ],
)
def test_what_cannot_be_read_is_a_problem_too(
    service_url: str, head: str, status: int, code: str
) -> None:
    answer = exchange(service_url, head.encode("latin-1") + b"\r\n\r\n")

    assert answer[0] == status
    headers, problem = answer[1], json.loads(answer[2])
    assert headers["content-type"] == "application/problem+json"
    assert headers["content-length"] == str(len(answer[2]))
    assert headers["connection"] == "close"
    assert headers["x-request-id"] == problem["request_id"]
    assert set(problem) == PROBLEM
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["type"] == f"urn:thalweg:problem:{code}"
    assert problem["detail"]


def test_the_next_request_over_a_connection_is_answered_before_it_ends(service_url: str) -> None:
    status, headers, body = exchange(
        service_url, b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\nnonsense\r\n\r\n"
    )

    assert (status, headers["x-content-type-options"]) == (200, "nosniff")
    assert re.search(rb"HTTP/1.1 400 .*X-Request-Id: \w+", body, re.S)


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_answers_are_compressed_on_the_wire(client: httpx.Client, coding: str) -> None:
    # given content that is sent as it is read, and an answer that is made whole
    made = client.post("/v1/datasets", json={"columns": {"x": [i / 7 for i in range(50_000)]}})
    paths = [f"/v1/datasets/{made.json()['id']}/content", "/openapi.json", "/docs/swagger-ui.css"]

    for path in paths:
        plain = client.get(path, headers={"Accept-Encoding": "identity"})
        with client.stream("GET", path, headers={"Accept-Encoding": coding}) as answer:
            raw = b"".join(answer.iter_raw())

        # then it is whole, and the connection goes on
        assert answer.headers["Content-Encoding"] == coding
        assert len(raw) < len(plain.content)
        assert inflated(raw, coding) == plain.content
        head = client.head(path, headers={"Accept-Encoding": coding})
        assert head.headers["Content-Encoding"] == coding
        known = {"Accept-Encoding": coding, "If-None-Match": answer.headers.get("ETag", "none")}
        expected = 304 if "ETag" in answer.headers else 200
        assert client.get(path, headers=known).status_code == expected


def inflated(content: bytes, coding: str) -> bytes:
    if coding == "gzip":
        return gzip.decompress(content)
    whole: bytes = pa.CompressedInputStream(pa.BufferReader(content), coding).read()
    return whole
