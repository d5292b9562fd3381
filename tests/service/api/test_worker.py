"""What gunicorn's worker answers by itself."""

import json
import socket
from types import SimpleNamespace

import pytest
from gunicorn.http.errors import InvalidHeader, InvalidResponseHeader

from service.api.worker import ProblemWorker


def answer_to(error: Exception, request: object = None) -> tuple[bytes, dict[str, object]]:
    """The head and the problem that a client gets."""
    # It needs nothing of what a worker is made with.
    worker = object.__new__(ProblemWorker)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        worker.handle_error(request, ours, ("127.0.0.1", 1), error)
        head, _, body = theirs.recv(65536).partition(b"\r\n\r\n")
    return head, json.loads(body)


@pytest.mark.parametrize("error", [RuntimeError("secret"), InvalidResponseHeader("secret")])
def test_a_crash_says_no_more_than_where_its_log_is(error: Exception) -> None:
    request = SimpleNamespace(path="/v1/fits", headers=[("X-REQUEST-ID", "mine")])

    head, problem = answer_to(error, request)

    assert head.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert b"X-Request-Id: mine" in head
    assert problem == {
        "type": "urn:thalweg:problem:internal_error",
        "title": "Internal error",
        "status": 500,
        "detail": "the service failed; its log says why under the request id mine",
        "instance": "/v1/fits",
        "code": "internal_error",
        "request_id": "mine",
    }


def test_an_id_that_is_none_is_not_given_back() -> None:
    request = SimpleNamespace(path="/", headers=[("X-REQUEST-ID", "no\r\nid: 1")])

    head, problem = answer_to(InvalidHeader("x", request))

    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"id: 1" not in head
    assert problem["instance"] == "/"


def test_a_client_that_has_gone_is_no_crash() -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    with ours:
        object.__new__(ProblemWorker).handle_error(None, ours, None, RuntimeError("x"))
