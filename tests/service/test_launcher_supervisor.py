"""The supervisor: what it does when a part starts, dies, hangs or is asked to stop."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from service.errors import StartFailed
from service.supervisor import Part, StopRequested, Supervisor

SLEEP = "import time; time.sleep(60)"
# Leaves its name in a file when it is told to end.
LEAVES = """
import signal, sys, time
def leave(*_):
    open({path!r}, "a").write({name!r} + "\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
open({ready!r}, "w").close()
time.sleep(60)
"""


class Stopping:
    """Says to stop `after` so many seconds, or `once` something holds."""

    def __init__(self) -> None:
        self.holds: Callable[[], bool] = lambda: False

    def __call__(self) -> bool:
        return self.holds()

    def after(self, seconds: float) -> None:
        at = time.monotonic() + seconds
        self.once(lambda: time.monotonic() >= at)

    def once(self, holds: Callable[[], bool]) -> None:
        self.holds = holds


@pytest.fixture
def stopping() -> Stopping:
    return Stopping()


@pytest.fixture
def supervisor(stopping: Stopping) -> Iterator[Supervisor]:
    supervisor = Supervisor(os.environ, stopping)
    yield supervisor
    supervisor.stop()


def part(
    program: str,
    *,
    name: str = "part",
    is_ready: Callable[[], bool] = lambda: False,
    ready_seconds: float = 20,
    stop_seconds: float = 5,
) -> Part:
    command = (sys.executable, "-c", program)
    return Part(name, command, is_ready, ready_seconds, stop_seconds)


def test_a_part_that_ends_before_it_is_ready_is_told_with_its_last_lines(
    supervisor: Supervisor,
) -> None:
    supervisor.start(part("print('no such option'); raise SystemExit(3)", name="redis"))
    with pytest.raises(StartFailed, match=r"redis ended with exit code 3(.|\n)*no such option"):
        supervisor.await_ready("redis")


def test_a_part_that_a_signal_ended_is_told_by_the_signals_name(supervisor: Supervisor) -> None:
    supervisor.start(part("import os; os.kill(os.getpid(), 9)"))
    with pytest.raises(StartFailed, match=r"was ended by SIGKILL .*; it printed nothing"):
        supervisor.await_ready("part")


def test_a_part_that_takes_too_long_is_told(supervisor: Supervisor) -> None:
    supervisor.start(part(SLEEP, ready_seconds=0.2))
    with pytest.raises(StartFailed, match="part was not ready after 0 s"):
        supervisor.await_ready("part")


def test_a_program_that_is_not_there_is_told(supervisor: Supervisor) -> None:
    missing = Part("redis", ("/nowhere/redis-server",), lambda: True, 1, 1)
    with pytest.raises(StartFailed, match=r"cannot start redis: .*/nowhere/redis-server"):
        supervisor.start(missing)


def test_a_stop_ends_the_wait_for_a_part(supervisor: Supervisor, stopping: Stopping) -> None:
    supervisor.start(part(SLEEP))
    stopping.after(0.1)
    with pytest.raises(StopRequested):
        supervisor.await_ready("part")


def times_in(path: Path) -> list[float]:
    return [float(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_a_part_that_dies_is_started_again_with_growing_pauses(
    supervisor: Supervisor, stopping: Stopping, tmp_path: Path
) -> None:
    starts = tmp_path / "starts"
    program = f"import time; open({str(starts)!r}, 'a').write(f'{{time.time()}}\\n')"
    supervisor.start(part(program))
    deadline = time.monotonic() + 60
    stopping.once(lambda: len(times_in(starts)) > 2 or time.monotonic() > deadline)
    supervisor.watch()
    times = times_in(starts)
    assert len(times) > 2
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert pauses[0] >= 0.5
    assert pauses[1] >= 1.0


def test_parts_stop_in_reverse(supervisor: Supervisor, tmp_path: Path) -> None:
    ended = tmp_path / "ended"
    for name in ("first", "second"):
        ready = tmp_path / name
        program = LEAVES.format(path=str(ended), name=name, ready=str(ready))
        supervisor.start(part(program, name=name, is_ready=ready.exists))
        supervisor.await_ready(name)
    supervisor.stop()
    assert ended.read_text().split() == ["second", "first"]


def test_a_part_that_does_not_stop_is_killed(supervisor: Supervisor, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    program = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        f"open({str(ready)!r}, 'w').close(); time.sleep(60)"
    )
    supervisor.start(part(program, is_ready=ready.exists, stop_seconds=0.3))
    supervisor.await_ready("part")
    before = time.monotonic()
    supervisor.stop()
    assert time.monotonic() - before < 5
