"""Gunicorn's settings, as gunicorn reads them."""

import inspect
import signal
import subprocess
import sys
import threading
import types

import pytest
from gunicorn.app.wsgiapp import WSGIApplication

from service.api import server, waiting
from service.api.worker import ProblemWorker
from service.launcher import api_command


def settings_of(command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> WSGIApplication:
    """What gunicorn makes of a command line `python -m gunicorn …`."""
    monkeypatch.setattr("sys.argv", ["gunicorn", *command[3:]])
    return WSGIApplication("%(prog)s [OPTIONS] [APP_MODULE]", prog="gunicorn")


def test_gunicorn_knows_every_name(monkeypatch: pytest.MonkeyPatch) -> None:
    known = settings_of(api_command(), monkeypatch).cfg.settings
    ours = {
        name
        for name, value in vars(server).items()
        if name.islower() and not name.startswith("_") and not isinstance(value, types.ModuleType)
    } - {"begin_drain", "die_with"}
    assert ours <= known.keys()


def test_the_command_line_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    app = settings_of(api_command("--bind", "127.0.0.1:1", "--graceful-timeout", "8"), monkeypatch)
    assert app.cfg.address == [("127.0.0.1", 1)]
    assert app.cfg.graceful_timeout == 8
    assert (app.cfg.workers, app.cfg.threads, app.cfg.worker_class) == (2, 352, ProblemWorker)
    assert app.app_uri == "service.api:create_app()"


def test_nothing_is_left_behind_and_nobody_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = settings_of(api_command(), monkeypatch).cfg
    assert cfg.control_socket_disable
    assert cfg.pidfile is None
    assert cfg.forwarded_allow_ips == []


def test_sigterm_still_reaches_gunicorn(monkeypatch: pytest.MonkeyPatch) -> None:
    # The process that runs the tests goes on.
    monkeypatch.setattr(waiting, "_draining", threading.Event())
    assert list(inspect.signature(server.post_worker_init).parameters) == ["worker"]
    reached: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _frame: reached.append(number))
    try:
        server.post_worker_init(None)
        signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert reached == [signal.SIGTERM]


def test_prometheus_is_loaded_by_processes_that_know_where_to_count() -> None:
    # Gunicorn's main process says where when it starts, with its settings and the worker loaded.
    script = (
        "import sys, service.api.server, service.api.worker\n"
        "assert 'prometheus_client' not in sys.modules\n"
        "from service.api import create_app\n"
        "assert 'prometheus_client' in sys.modules\n"
    )

    subprocess.run([sys.executable, "-c", script], check=True)
