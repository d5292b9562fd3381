"""What `thalweg serve` refuses before it starts anything."""

import os
import signal
import socket
from pathlib import Path

import pytest

from service.data_lock import hold
from service.errors import StartFailed
from service.launcher import serve, stop_signals
from service.listener import open_listener, url_of
from service.settings import Settings


def test_a_data_directory_is_held_by_one(tmp_path: Path) -> None:
    with (
        hold(tmp_path / "data"),
        pytest.raises(StartFailed, match=rf"process {os.getpid()} serves .* --data-dir"),
        hold(tmp_path / "data"),
    ):
        pass
    assert list((tmp_path / "data").iterdir()) == []


def test_a_lock_file_whose_holder_died_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / "serve.lock").write_text("999999999\n")
    with hold(tmp_path):
        assert (tmp_path / "serve.lock").read_text() == f"{os.getpid()}\n"


def test_a_data_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartFailed, match="cannot use the data directory"), hold(tmp_path / "file"):
        pass


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::"])  # noqa: S104
def test_only_loopback_is_served_without_a_key(host: str) -> None:
    with pytest.raises(StartFailed, match=r"no key configured: .* binds to loopback only"):
        open_listener(host, 0)


def test_an_unknown_host_is_told() -> None:
    with pytest.raises(StartFailed, match="unknown host"):
        open_listener("no such host", 0)


def test_a_free_port_is_found_and_held() -> None:
    with open_listener("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        assert url_of(listener) == f"http://127.0.0.1:{port}"
        with pytest.raises(StartFailed, match=rf"port {port}: .*in use"):
            open_listener("127.0.0.1", port)


def test_an_ipv6_address_is_written_in_brackets() -> None:
    try:
        listener = open_listener("::1", 0)
    except StartFailed:
        pytest.skip("this machine has no IPv6")
    with listener:
        assert url_of(listener).startswith("http://[::1]:")


def test_a_redis_that_does_not_answer_is_told_without_its_password(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    settings = Settings(data_dir=tmp_path, redis_url=f"redis://:secret@127.0.0.1:{port}/0")
    with pytest.raises(StartFailed, match="THALWEG_REDIS_URL does not answer") as refusal:
        serve(settings, "127.0.0.1", 0, 1, lambda _url: None)
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_noted_and_its_handler_comes_back(number: signal.Signals) -> None:
    # Whoever runs the tests may ignore it.
    before = signal.signal(number, signal.default_int_handler)
    try:
        with stop_signals() as stopping:
            assert not stopping()
            signal.raise_signal(number)
            assert stopping()
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, before)


def test_nohup_is_respected() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_signals() as stopping:
            signal.raise_signal(signal.SIGHUP)
            assert not stopping()
    finally:
        signal.signal(signal.SIGHUP, before)
