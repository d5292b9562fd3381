"""Children: their output, their end, and that they never outlive their parent."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.processes import Child, Family

PARENT = """
import os, sys, time
from service.processes import Child
child = Child([sys.executable, "-c", "import time; time.sleep(60)"], os.environ)
print(child.pid, flush=True)
time.sleep(60)
"""


@contextlib.contextmanager
def running(program: str) -> Iterator[tuple[Child, Family]]:
    child = Child([sys.executable, "-c", program], os.environ)
    family = Family()
    family.adopt(child)
    try:
        yield child, family
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.signal(signal.SIGKILL)
        family.wait(lambda: child.exit_code() is not None, 10)
        family.bury(child)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


THREADED_PARENT = """
import os, subprocess, sys, threading, time
program = "import os, time; from service.processes import end_with; end_with(os.getppid())"
def start():
    child = subprocess.Popen([sys.executable, "-c", program + "; time.sleep(60)"])
    print(child.pid, flush=True)
thread = threading.Thread(target=start)
thread.start(); thread.join()
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other kernels have no parent death signal")
def test_a_child_dies_with_its_parent() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert is_alive(pid)
        parent.kill()
    deadline = time.monotonic() + 10
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_alive(pid)


def test_a_child_of_a_thread_ends_with_the_process_and_not_before() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", THREADED_PARENT], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        time.sleep(1)
        assert is_alive(pid)
        parent.kill()
    deadline = time.monotonic() + 10
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_alive(pid)


def test_ctrl_c_reaches_the_parent_alone() -> None:
    with running("import time; time.sleep(60)") as (child, _):
        assert os.getsid(child.pid) == child.pid


def test_output_is_passed_on_and_its_end_is_kept(capfd: pytest.CaptureFixture[str]) -> None:
    lines = "for i in range(50): print('line', i, flush=True)"
    program = f"import sys\n{lines}\nprint('oh', file=sys.stderr)"
    with running(program) as (child, family):
        assert family.wait(lambda: child.exit_code() is not None, 10)
        family.wait(lambda: "oh" in child.last_lines(), 10)
        assert child.last_lines().splitlines() == [*(f"line {i}" for i in range(31, 50)), "oh"]
    assert "line 0\n" in capfd.readouterr().err


def test_a_wait_ends_when_its_time_is_over() -> None:
    with running("import time; time.sleep(60)") as (child, family):
        assert not family.wait(lambda: child.exit_code() is not None, 0.1)
