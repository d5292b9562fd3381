"""An HTTP server for tests that no client can hold up."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class HttpServer(ThreadingHTTPServer):
    """One thread a request, at a port of the loopback address; 0 takes a free one."""

    def __init__(self, port: int, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", port), handler)
        # A client that is gone between its coming and its being taken up would else be waited for
        # until the next one comes, and `shutdown` with it.
        self.socket.settimeout(1.0)
