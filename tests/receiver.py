"""A receiver of webhooks on loopback."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.serving import HttpServer

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105 (the example of Standard Webhooks)


class Receiver:
    """An HTTP server that keeps what it is sent, and answers the next of `answers`, then 204.

    At the paths of `slow` nothing is answered while `released` is not set.
    """

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.headers: dict[str, str] = {}
        self.body = b""
        self.url = ""
        self.slow: set[str] = set()
        self.released = threading.Event()


@contextmanager
def receiving(port: int = 0) -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.got.append((dict(self.headers), body))
            if self.path in receiver.slow:
                receiver.released.wait(60)
            # Who has gone on meanwhile hears nothing.
            with suppress(ConnectionError):
                self.answer()

        def answer(self) -> None:
            self.send_response(receiver.answers.pop(0) if receiver.answers else 204)
            for name, value in receiver.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(receiver.body)

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    with HttpServer(port, Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        receiver.url = f"http://127.0.0.1:{server.server_address[1]}/hook?of=fits"
        try:
            yield receiver
        finally:
            receiver.released.set()
            server.shutdown()
            thread.join()
