"""Gunicorn's settings: `gunicorn -c python:service.api.server 'service.api:create_app()'`.

Gunicorn reads the names below; its command line comes before them.
"""

import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from types import FrameType
from typing import Any

from service import garbage, keys, listener
from service.api import connections, memory
from service.api.streams import MOST_STREAMS
from service.api.waiting import MOST_WAITS, begin_drain
from service.errands import MOST_ERRANDS
from service.processes import die_with
from service.settings import METRICS_DIRECTORY, Settings

bind = "127.0.0.1:8000"
workers = 2
# Waits, event streams and requests to workers hold a thread each, and do next to nothing on it.
# However many of them there are, as many threads are left for everything else; one is made when it
# is first needed.
worker_class = "service.api.worker.ProblemWorker"
threads = 32 + MOST_STREAMS + MOST_WAITS + MOST_ERRANDS

# A worker is alive while its main thread runs; this is no limit on a request. Only a body that
# is parsed in one call can keep the interpreter from that thread for long.
timeout = 120
graceful_timeout = 20
keepalive = 30

# The sign of life must not wait for a disk.
_MEMORY = Path("/dev/shm")  # noqa: S108  # Gunicorn makes its file there with mkstemp.
worker_tmp_dir = str(_MEMORY) if _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK) else None

# Else gunicorn leaves a socket below the home directory.
control_socket_disable = True

# Filters and cursors make long request lines. Bodies are bounded by the app, which can say why.
limit_request_line = 8190
limit_request_fields = 100
limit_request_field_size = 8190

# No header of a client's can change the scheme or the path: behind a proxy THALWEG_PUBLIC_URL
# is the base of every URL.
forwarded_allow_ips = ""

# The app writes its own log, one line a request.
accesslog = None
loglevel = "warning"


def on_starting(server: Any) -> None:
    """In gunicorn's main process: refuse to serve openly beyond this machine."""
    hosts = [address[0] for address in server.cfg.address if isinstance(address, tuple)]
    outside = [host for host in hosts if not listener.is_loopback(host)]
    if outside and not keys.has_keys(Settings()):
        sys.exit(f"thalweg: {listener.refusal(outside[0])}")
    # Where each process keeps its counts, so that whichever is asked adds them up. The workers
    # that are forked from here load Prometheus' client only then.
    if METRICS_DIRECTORY not in os.environ:
        os.environ[METRICS_DIRECTORY] = server.counts = tempfile.mkdtemp(prefix="thalweg-metrics-")


def on_exit(server: Any) -> None:
    """In gunicorn's main process, at its end."""
    if hasattr(server, "counts"):
        shutil.rmtree(server.counts, ignore_errors=True)


def post_fork(server: Any, worker: Any) -> None:
    """In a new worker: end where gunicorn's main process is killed; hold little memory."""
    die_with(server.pid)
    memory.share_heaps()


def pre_request(_worker: Any, served: Any) -> None:
    """In a worker's thread: a request will be answered."""
    connections.begin_request(served)


def post_worker_init(worker: Any) -> None:
    """In a worker with its app loaded: let SIGTERM also end the waits that requests are in."""
    garbage.spare_what_is_loaded()
    stop = signal.getsignal(signal.SIGTERM)

    def drain(number: int, frame: FrameType | None) -> None:
        begin_drain()
        if callable(stop):
            stop(number, frame)

    signal.signal(signal.SIGTERM, drain)
    # As gunicorn has it: no system call of a running request is interrupted.
    signal.siginterrupt(signal.SIGTERM, False)
