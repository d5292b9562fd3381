"""What stands between a client and a server, and can fail like either."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum, auto

_CHUNK_BYTES = 64 * 1024
# How soon a connection notices that the way has changed.
_LOOK_SECONDS = 0.05
_CUT_AFTER_BYTES = 1_000_000
_SLOW_BYTES_PER_SECOND = 2_000_000
_FAILURE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Way(Enum):
    """What becomes of connections, those that are open too."""

    THROUGH = auto()
    # They end at once.
    CLOSED = auto()
    # Nothing comes back.
    SILENT = auto()
    # Every request is answered by 503.
    FAILING = auto()
    # Nothing is lost, at two megabytes a second.
    SLOW = auto()
    # An answer ends in its midst.
    CUT = auto()


class Proxy:
    """One address of loopback that leads to a server, as long as `way` lets through."""

    def __init__(self, server: tuple[str, int]) -> None:
        self.way = Way.THROUGH
        self._server = server
        self._stopped = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listener.getsockname()
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    def go(self, way: Way) -> None:
        """Take this way from now on."""
        self.way = way

    def stop(self) -> None:
        """Take no more connections, and end those that there are."""
        self._stopped = True
        self._listener.close()

    def _accept(self) -> None:
        # It ends by the listener's being closed.
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        # Either side may end a connection as it likes.
        with client, suppress(OSError), socket.create_connection(self._server) as server:
            back = threading.Thread(target=self._pump, args=(server, client, True), daemon=True)
            back.start()
            self._pump(client, server, False)
            back.join()

    def _pump(self, source: socket.socket, sink: socket.socket, is_answer: bool) -> None:
        """Carry what comes, as long as it may."""
        n_bytes = 0
        source.settimeout(_LOOK_SECONDS)
        with suppress(OSError):
            while not self._stopped and not self._goes(Way.CLOSED):
                try:
                    chunk = source.recv(_CHUNK_BYTES)
                except TimeoutError:
                    continue
                n_bytes += len(chunk)
                # What came while it waited goes the way that there is now.
                if not chunk or self._goes(Way.CLOSED):
                    break
                if self._goes(Way.CUT) and is_answer and n_bytes > _CUT_AFTER_BYTES:
                    break
                if self._goes(Way.FAILING):
                    source.sendall(_FAILURE)
                    break
                if self._goes(Way.SLOW):
                    time.sleep(len(chunk) / _SLOW_BYTES_PER_SECOND)
                if not self._goes(Way.SILENT):
                    sink.sendall(chunk)
        # Its twin ends with it.
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _goes(self, way: Way) -> bool:
        return self.way is way


@contextmanager
def proxy_to(server: tuple[str, int]) -> Iterator[Proxy]:
    """A proxy to the server, until the block's end."""
    proxy = Proxy(server)
    try:
        yield proxy
    finally:
        proxy.stop()
