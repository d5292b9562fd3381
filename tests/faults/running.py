"""A service on a port of its own that can be killed, and started again on its data."""

import os
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from service.settings import Settings
from tests.faults.processes import all_of, pids_of
from tests.ports import free_ports

READY = "Thalweg serves on "
READY_SECONDS = 300.0
STOP_SECONDS = 45.0
# A crashed service is started anew by whatever watches it; the port may be held a moment longer.
_STARTS = 4

_CLOCK = Path(__file__).parent / "clock"

LEASE_SECONDS = 2
SHORT_LEASES = {"THALWEG_LEASE_SECONDS": str(LEASE_SECONDS), "THALWEG_SWEEP_SECONDS": "0.5"}


class Running:
    """The launcher and all below it; `url` stays over every start.

    `prefix` is a command that ends in becoming the one behind it.
    """

    def __init__(
        self,
        data_dir: Path,
        environment: Mapping[str, str],
        n_workers: int = 2,
        prefix: Sequence[str] = (),
    ) -> None:
        self.data_dir = data_dir
        self.n_serving = 0
        self.log = data_dir.parent / f"{data_dir.name}.log"
        self._clock = data_dir.parent / f"{data_dir.name}.clock"
        self.turn_clock(0.0)
        self.environment = (
            os.environ
            | environment
            | {
                "THALWEG_DATA_DIR": str(data_dir),
                "TURNED_CLOCK": str(self._clock),
                "PYTHONPATH": os.pathsep.join(
                    [str(_CLOCK), *filter(None, [os.environ.get("PYTHONPATH")])]
                ),
            }
        )
        (self._port,) = free_ports(1)
        self._n_workers = n_workers
        self._prefix = prefix
        self.url = f"http://127.0.0.1:{self._port}"
        self.launcher: subprocess.Popen[bytes] | None = None

    @property
    def settings(self) -> Settings:
        """Where the service has its database, its objects and redis."""
        return Settings(
            data_dir=self.data_dir,
            database_url=self.environment.get("THALWEG_DATABASE_URL"),
            storage_url=self.environment.get("THALWEG_STORAGE_URL"),
        )

    def turn_clock(self, seconds: float) -> None:
        """Have the clocks of its processes be wrong by so much, until the next call."""
        # In place: they have the file mapped.
        with self._clock.open("r+b" if self._clock.exists() else "wb") as file:
            file.write(struct.pack("d", seconds))

    def start(self) -> None:
        """Start it and wait until it serves; again, a few times, where it ends at once."""
        for _ in range(_STARTS):
            self.launcher = self._launch()
            if self._serves(self.launcher):
                return
        raise AssertionError(f"the service does not start; see {self.log}")

    def pids(self, role: str) -> list[int]:
        """The processes of the role."""
        return [] if self.launcher is None else pids_of(self.launcher.pid, role)

    def kill(self) -> None:
        """Kill the launcher alone, as the kernel would, and bury it."""
        assert self.launcher is not None
        self.launcher.kill()
        self.launcher.wait()

    def stop(self) -> tuple[int, dict[int, str]]:
        """Ask it to stop; its exit code, and the processes that are left."""
        assert self.launcher is not None
        self.launcher.terminate()
        code = self.launcher.wait(STOP_SECONDS)
        return code, all_of(self.data_dir)

    def logged(self, words: str) -> int:
        """How many lines of the log have the words."""
        return sum(words in line for line in self.log.read_text(errors="replace").splitlines())

    def _launch(self) -> "subprocess.Popen[bytes]":
        options = ("--port", str(self._port), "--workers", str(self._n_workers))
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [*self._prefix, sys.executable, "-m", "service.cli", "serve", *options],
                stdout=log,
                stderr=log,
                env=self.environment,
            )

    def _serves(self, launcher: "subprocess.Popen[bytes]") -> bool:
        deadline = time.monotonic() + READY_SECONDS
        while launcher.poll() is None:
            assert time.monotonic() < deadline, f"not ready; see {self.log}"
            if self.logged(READY) == self.n_serving + 1:
                self.n_serving += 1
                return True
            time.sleep(0.1)
        return False

    def is_ready(self) -> bool:
        """Whether every part that the API looks at is there."""
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False


@contextmanager
def running(
    data_dir: Path,
    environment: Mapping[str, str] | None = None,
    n_workers: int = 2,
    prefix: Sequence[str] = (),
) -> Iterator[Running]:
    """A service with short leases that serves; whatever is left of it is killed at the end."""
    service = Running(data_dir, SHORT_LEASES | dict(environment or {}), n_workers, prefix)
    try:
        service.start()
        yield service
    finally:
        if service.launcher is not None and service.launcher.poll() is None:
            try:
                service.stop()
            finally:
                service.launcher.kill()
                service.launcher.wait()
