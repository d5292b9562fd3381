"""Keeps the parts of a service running: in order up, again where one dies, in reverse down."""

import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from service.errors import StartFailed
from service.processes import Child, Family

log = structlog.get_logger(__name__)

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 5.0
# A part that ran for so long before it died starts with the first pause again.
_STEADY_SECONDS = 10.0
_LOOK_SECONDS = 0.2


class StopRequested(Exception):
    """A signal asked the service to stop before all of it was up."""


@dataclass(frozen=True)
class Part:
    """One process of the service, and how it is known to work.

    `is_ready` may be called often; it answers False while the part does not work yet.
    `stop_seconds` is what SIGTERM leaves it before SIGKILL.
    """

    name: str
    command: tuple[str, ...]
    is_ready: Callable[[], bool]
    ready_seconds: float
    stop_seconds: float
    pass_fds: tuple[int, ...] = ()


@dataclass
class _Running:
    part: Part
    child: Child
    pause_seconds: float = _FIRST_PAUSE_SECONDS
    restart_at: float | None = None


class Supervisor:
    """Starts parts and holds them until `stop`."""

    def __init__(self, environment: Mapping[str, str], stop_requested: Callable[[], bool]) -> None:
        self._environment = environment
        self._stop_requested = stop_requested
        self._family = Family()
        self._running: list[_Running] = []

    def start(self, part: Part) -> None:
        """Start a part without waiting for it; raises StartFailed where it cannot be executed."""
        try:
            self._running.append(_Running(part, self._spawn(part)))
        except OSError as error:
            raise StartFailed(f"cannot start {part.name}: {error}") from error

    def await_ready(self, name: str) -> None:
        """Wait until the part works.

        Raises StartFailed with its last lines where it ends or takes too long, and StopRequested.
        """
        running = next(r for r in self._running if r.part.name == name)
        part, child = running.part, running.child

        def settled() -> bool:
            return self._stop_requested() or child.exit_code() is not None or part.is_ready()

        in_time = self._family.wait(settled, part.ready_seconds)
        if self._stop_requested():
            raise StopRequested
        if child.exit_code() is not None:
            self._running.remove(running)
            self._family.bury(child)
            raise StartFailed(_told(f"{name} {_ending(child)} before it was ready", child))
        if not in_time:
            waited = f"{name} was not ready after {part.ready_seconds:.0f} s"
            raise StartFailed(_told(waited, child))

    def watch(self) -> None:
        """Start every part again that dies, until a stop is requested."""
        while not self._family.wait(self._stop_requested, _LOOK_SECONDS):
            for running in self._running:
                self._look_after(running)

    def stop(self) -> None:
        """Stop every part, the newest first, each within its time."""
        while self._running:
            running = self._running.pop()
            self._stop(running)

    def _spawn(self, part: Part) -> Child:
        child = Child(part.command, self._environment, part.pass_fds)
        self._family.adopt(child)
        log.info("part_started", part=part.name, child_pid=child.pid)
        return child

    def _look_after(self, running: _Running) -> None:
        if running.child.exit_code() is None:
            return
        if running.restart_at is None:
            self._plan_restart(running)
        elif time.monotonic() >= running.restart_at:
            self._restart(running)

    def _plan_restart(self, running: _Running) -> None:
        child = running.child
        self._family.bury(child)
        if time.monotonic() - child.started_at >= _STEADY_SECONDS:
            running.pause_seconds = _FIRST_PAUSE_SECONDS
        log.error(
            "part_died",
            part=running.part.name,
            child_pid=child.pid,
            ending=_ending(child),
            restart_in_seconds=running.pause_seconds,
        )
        running.restart_at = time.monotonic() + running.pause_seconds
        running.pause_seconds = min(2 * running.pause_seconds, _LONGEST_PAUSE_SECONDS)

    def _restart(self, running: _Running) -> None:
        try:
            running.child = self._spawn(running.part)
            running.restart_at = None
        except OSError as error:
            log.error("part_cannot_start", part=running.part.name, error=str(error))
            running.restart_at = time.monotonic() + running.pause_seconds

    def _stop(self, running: _Running) -> None:
        part, child = running.part, running.child
        if running.restart_at is not None:
            return
        child.signal(signal.SIGTERM)
        if not self._family.wait(lambda: child.exit_code() is not None, part.stop_seconds):
            log.warning("part_killed", part=part.name, after_seconds=part.stop_seconds)
            child.signal(signal.SIGKILL)
            self._family.wait(lambda: child.exit_code() is not None, part.stop_seconds)
        self._family.bury(child)
        log.info("part_stopped", part=part.name, ending=_ending(child))


def _ending(child: Child) -> str:
    code = child.exit_code()
    if code is not None and code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def _told(what: str, child: Child) -> str:
    lines = child.last_lines()
    return f"{what}; its last lines:\n{lines}" if lines else f"{what}; it printed nothing"
