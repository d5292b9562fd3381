"""A PostgreSQL of the tests' own, by the machine's programs, in a temporary directory."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg
import pytest

from service.database import migrate
from service.settings import Settings

_PROGRAMS = ("initdb", "postgres")
# Where Debian keeps them, whose PATH has none of them.
_DEBIAN = Path("/usr/lib/postgresql")
MIGRATED = "migrated"
EMPTY = "template1"
_START_SECONDS = 60


class PostgreSQL:
    """A server that can be stopped and started again, on the same directory."""

    def __init__(self, programs: Path, directory: Path) -> None:
        self._programs = programs
        self._directory = directory
        self._data = directory / "data"
        self._log = directory / "log"
        self._user = _unprivileged_user()
        self._numbers = count()
        self._process: subprocess.Popen[bytes] | None = None
        if self._user is not None:
            os.chown(directory, pwd.getpwnam(self._user).pw_uid, -1)
        subprocess.run(
            [
                *(str(programs / "initdb"), "-D", str(self._data), "--username=postgres"),
                *("--auth=trust", "--no-sync", "--encoding=UTF8"),
            ],
            user=self._user,
            cwd=directory,
            check=True,
            stdout=subprocess.DEVNULL,
        )

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(self._directory),
            "max_connections": "300",
            # Its processes are killed by tests; the machine is not.
            "fsync": "off",
            # Whoever waits for ever fails.
            "lock_timeout": "30s",
            "deadlock_timeout": "100ms",
        }
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(str(self._programs / "postgres"), "-D", str(self._data)),
                    *(word for pair in options.items() for word in ("-c", "=".join(pair))),
                ],
                user=self._user,
                cwd=self._directory,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        self._wait()

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: by SIGINT it ends every connection, by SIGQUIT it ends as if it had crashed."""
        assert self._process is not None
        self._process.send_signal(how)
        self._process.wait(_START_SECONDS)

    def execute(self, statement: str) -> None:
        """Run what makes or drops databases."""
        with psycopg.connect(self._conninfo("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())

    @contextmanager
    def database(self, template: str = MIGRATED) -> Iterator[str]:
        """The URL of a new database, dropped at the end; from `EMPTY` it has no table."""
        name = f"test_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        yield self.url(name)
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def url(self, name: str) -> str:
        """SQLAlchemy's URL of a database."""
        return f"postgresql+psycopg://postgres@/{name}?host={self._directory}"

    def make_template(self) -> None:
        """Migrate once what every database is then copied from."""
        self.execute(f"CREATE DATABASE {MIGRATED}")
        migrate(Settings(database_url=self.url(MIGRATED)))

    def _conninfo(self, name: str) -> str:
        return f"host={self._directory} user=postgres dbname={name} connect_timeout=5"

    def _wait(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            try:
                self.execute("SELECT 1")
            except psycopg.OperationalError:
                if self._process.poll() is not None:
                    break
                time.sleep(0.02)
            else:
                return
        raise RuntimeError(self._log.read_text())


def _unprivileged_user() -> str | None:
    """As whom it runs: PostgreSQL refuses to run as root."""
    return "nobody" if os.geteuid() == 0 else None


def _programs() -> Path | None:
    """The directory of the machine's PostgreSQL, the newest where there are several."""
    on_path = shutil.which("initdb")
    places = [Path(on_path).resolve().parent] if on_path else []
    places += sorted(_DEBIAN.glob("*/bin"), key=lambda path: -float(path.parent.name))
    return next((p for p in places if all((p / name).exists() for name in _PROGRAMS)), None)


@contextmanager
def running_postgresql() -> Iterator[PostgreSQL]:
    """A server; without PostgreSQL on the machine the test is skipped, or fails in CI."""
    programs = _programs()
    if programs is None:
        if "CI" in os.environ:
            pytest.fail("PostgreSQL is not installed: .ci/run installs it")
        pytest.skip("PostgreSQL is not installed: `apt-get install postgresql` brings it")
    # Pytest's own temporary paths can be too long for a socket, and are root's alone.
    with tempfile.TemporaryDirectory(prefix="thalweg-") as directory:
        server = PostgreSQL(programs, Path(directory))
        try:
            server.start()
            server.make_template()
            yield server
        finally:
            server.stop()
