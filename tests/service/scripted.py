"""A real HTTP server that answers as a test says, however badly."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from service.api.problems import MEDIA_TYPE as PROBLEM
from tests.serving import HttpServer


@dataclass(frozen=True)
class Answer:
    """What a request gets; `cut` ends the connection behind the body, without the body's end.

    One that `holds` keeps the connection open behind the body until the server stops.
    """

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False
    holds: bool = False


# Not a byte of an answer.
GONE = Answer(status=0)


def said(body: Any, status: int = 200, **headers: str) -> Answer:
    """A body in JSON."""
    return Answer(
        status, json.dumps(body).encode(), {"Content-Type": "application/json", **headers}
    )


def problem(status: int, code: str, detail: str = "no", **more: Any) -> Answer:
    """A problem as the service says one; `retry_after` is a header."""
    headers = {"Content-Type": PROBLEM}
    if "retry_after" in more:
        headers["Retry-After"] = str(more.pop("retry_after"))
    body = {"status": status, "code": code, "detail": detail, **more}
    return Answer(status, json.dumps(body).encode(), headers)


def told(*events: tuple[int, str, Any], rest: bytes = b"", **how: bool) -> Answer:
    """A stream of server-sent events, and what is left of another one."""
    blocks = [
        f"id: {number}\nevent: {kind}\ndata: {json.dumps(data)}\n\n".encode()
        for number, kind, data in events
    ]
    body = b"retry: 10\n\n" + b"".join(blocks) + rest
    return Answer(body=body, headers={"Content-Type": "text/event-stream"}, **how)


@dataclass(frozen=True)
class Request:
    """What came."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class Scripted:
    """The answers by method and path, the last of each for ever; and the requests so far."""

    def __init__(self, answers: Mapping[str, Answer | list[Answer]]) -> None:
        self.requests: list[Request] = []
        self.stopping = threading.Event()
        self.url = ""
        self._left = {
            name: [given] if isinstance(given, Answer) else [*given]
            for name, given in answers.items()
        }

    def answer_to(self, request: Request) -> Answer:
        """The next answer in turn."""
        self.requests.append(request)
        left = self._left.get(f"{request.method} {request.path.partition('?')[0]}")
        if left is None:
            return problem(404, "not_found", f"{request.path} is not in the script")
        return left.pop(0) if len(left) > 1 else left[0]


@contextmanager
def scripted(**answers: Answer | list[Answer]) -> Iterator[Scripted]:
    """A server with these answers, by names like `GET /v1/fits`, until the block's end."""
    script = Scripted(answers)
    with HttpServer(0, _handler(script)) as server:
        script.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield script
        finally:
            script.stopping.set()
            server.shutdown()
            thread.join()


def _handler(script: Scripted) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            request = Request(self.command, self.path, dict(self.headers), body)
            answer = script.answer_to(request)
            self.close_connection = True
            if answer.status == 0:
                return
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Connection", "close")
            # One byte that never comes.
            missing = 1 if answer.cut or answer.holds else 0
            self.send_header("Content-Length", str(len(answer.body) + missing))
            self.end_headers()
            self.wfile.write(answer.body)
            self.wfile.flush()
            if answer.holds:
                script.stopping.wait()

        def log_message(self, format: str, *args: Any) -> None:
            """What was asked is in `requests`."""

        do_GET = do_POST = do_DELETE = _answer  # noqa: N815 (http.server calls these)

    return Handler
