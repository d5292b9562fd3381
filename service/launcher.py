"""`thalweg serve`: redis, two workers and the API as the children of one process."""

import http.client
import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from types import FrameType

import structlog

from service import redis_server
from service.data_lock import hold
from service.database import migrate
from service.errors import StartFailed
from service.keys import has_keys
from service.listener import open_listener, url_of
from service.queue import LONG_QUEUES, QUICK_QUEUES, forget_workers, ready_workers
from service.settings import METRICS_DIRECTORY, Settings
from service.supervisor import Part, StopRequested, Supervisor

log = structlog.get_logger(__name__)

# Together below the 30 s within which a stop is promised.
_API_STOP_SECONDS = 9.0
_QUICK_WORKER_STOP_SECONDS = 3.0
_WORKER_STOP_SECONDS = 12.0
_REDIS_STOP_SECONDS = 4.0
# A cold numba cache on a busy machine takes this long; a large append-only file does as well.
_READY_SECONDS = 1_800.0
_PROBE_SECONDS = 2.0
_HTTP_OK = 200


def serve(
    settings: Settings, host: str, port: int, concurrency: int, announce: Callable[[str], None]
) -> None:
    """Serve until SIGTERM, SIGINT or SIGHUP; `announce` gets the URL once every part works.

    Raises StartFailed where another service holds the data directory, the port is taken or a
    part does not become ready, and Unavailable where the database does not answer.
    """
    with ExitStack() as stack:
        stopping = stack.enter_context(stop_signals())
        stack.enter_context(hold(settings.data_dir))
        guarded = partial(has_keys, settings)
        listener = stack.enter_context(open_listener(host, port, guarded))
        stack.enter_context(_own_socket(settings))
        scratch = stack.enter_context(_scratch(settings.data_dir))
        supervisor = Supervisor(_environment(settings, scratch), stopping)
        stack.callback(supervisor.stop)
        # Called before the supervisor's stop: who connects now must not wait for a dead API.
        stack.callback(listener.close)
        try:
            _start(supervisor, settings, listener, concurrency)
            announce(url_of(listener))
            supervisor.watch()
        except StopRequested:
            log.info("stopped_before_ready")


def worker_command(queues: str, concurrency: int) -> tuple[str, ...]:
    """How a worker for the queues, comma-separated, is started."""
    return (
        *(sys.executable, "-m", "celery", "--quiet", "--app", "workers.app", "worker"),
        *("--queues", queues, "--concurrency", str(concurrency)),
        *("--without-gossip", "--without-mingle", "--without-heartbeat"),
    )


def api_command(*options: str) -> tuple[str, ...]:
    """How the API is started; `options` are gunicorn's, above those of `service.api.server`."""
    return (
        *(sys.executable, "-m", "gunicorn", "--config", "python:service.api.server"),
        *options,
        "service.api:create_app()",
    )


@contextmanager
def stop_signals() -> Iterator[Callable[[], bool]]:
    """Within the block SIGTERM, SIGINT and SIGHUP only note that they came; gives the note."""
    came: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        came.append(number)

    numbers = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        # Else nohup started us, to outlive the terminal.
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _start(
    supervisor: Supervisor, settings: Settings, listener: socket.socket, concurrency: int
) -> None:
    if settings.redis_url is None:
        supervisor.start(_redis(settings))
        supervisor.await_ready("redis")
        forget_workers(settings)
    elif not redis_server.answers(settings):
        raise StartFailed("the redis of THALWEG_REDIS_URL does not answer PING")
    migrate(settings)
    # Together, because each takes seconds to import what it needs.
    supervisor.start(_worker(settings, concurrency))
    supervisor.start(_quick_worker(settings))
    for name in ("worker", "quick worker"):
        supervisor.await_ready(name)
    # Only then: a machine's first start compiles the loops, and no fit is taken that would wait for
    # them. Who connects meanwhile is answered after it.
    supervisor.start(_api(listener))
    supervisor.await_ready("API")


def _redis(settings: Settings) -> Part:
    return Part(
        name="redis",
        command=redis_server.server_command(redis_server.find_server(), settings),
        is_ready=lambda: redis_server.answers(settings),
        ready_seconds=_READY_SECONDS,
        stop_seconds=_REDIS_STOP_SECONDS,
    )


def _worker(settings: Settings, concurrency: int) -> Part:
    return Part(
        name="worker",
        command=worker_command(",".join(LONG_QUEUES), concurrency),
        is_ready=lambda: ready_workers(settings, socket.gethostname()) > 0,
        ready_seconds=_READY_SECONDS,
        stop_seconds=_WORKER_STOP_SECONDS,
    )


def _quick_worker(settings: Settings) -> Part:
    """Another one, so that no long fit stands before a picture or a prediction."""
    return Part(
        name="quick worker",
        # Two, so that a prediction waits for no picture.
        command=worker_command(",".join(QUICK_QUEUES), 2),
        is_ready=lambda: ready_workers(settings, socket.gethostname()) > 1,
        ready_seconds=_READY_SECONDS,
        stop_seconds=_QUICK_WORKER_STOP_SECONDS,
    )


def _api(listener: socket.socket) -> Part:
    # Gunicorn gives up on slow requests before it is itself given up.
    grace = ("--graceful-timeout", f"{_API_STOP_SECONDS - 2:.0f}")
    host, port = listener.getsockname()[:2]
    return Part(
        name="API",
        command=api_command("--bind", f"fd://{listener.fileno()}", *grace),
        is_ready=lambda: _is_ready(host, port),
        ready_seconds=_READY_SECONDS,
        stop_seconds=_API_STOP_SECONDS,
        pass_fds=(listener.fileno(),),
    )


def _is_ready(host: str, port: int) -> bool:
    with closing(http.client.HTTPConnection(host, port, timeout=_PROBE_SECONDS)) as connection:
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == _HTTP_OK
        except (OSError, http.client.HTTPException):
            return False


def _environment(settings: Settings, scratch: Path) -> dict[str, str]:
    return os.environ | {
        "THALWEG_DATA_DIR": str(settings.data_dir.resolve()),
        # The socket's place may depend on TMPDIR.
        "THALWEG_REDIS_URL": settings.redis_address,
        "TMPDIR": str(scratch),
        METRICS_DIRECTORY: str(_made(scratch / "metrics")),
    }


def _made(directory: Path) -> Path:
    directory.mkdir(exist_ok=True)
    return directory


@contextmanager
def _own_socket(settings: Settings) -> Iterator[None]:
    """Room for the embedded redis; its socket is gone afterwards, however redis ended."""
    if settings.redis_url is not None:
        yield
        return
    (settings.data_dir / "redis").mkdir(exist_ok=True)
    settings.redis_socket.unlink(missing_ok=True)
    try:
        yield
    finally:
        settings.redis_socket.unlink(missing_ok=True)


@contextmanager
def _scratch(data_dir: Path) -> Iterator[Path]:
    """A directory for the parts' temporary files: torch and killed uploads leave some behind."""
    scratch = data_dir.resolve() / "tmp"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
