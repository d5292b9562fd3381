"""Child processes that cannot outlive the process that started them."""

import contextlib
import ctypes
import os
import select
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence

_PR_SET_PDEATHSIG = 1
_CHUNK_BYTES = 65_536
_TAIL_BYTES = 16_384
_TAIL_LINES = 20
_LOOK_SECONDS = 0.05
_ORPHAN_LOOK_SECONDS = 0.5

# Loaded here, because between fork and exec a child must not load anything.
_libc = ctypes.CDLL(None, use_errno=True)


def die_with(parent_pid: int) -> None:
    """Have the kernel kill the calling process (SIGKILL) when its parent dies; Linux only.

    For a process just forked by `parent_pid`. Raises OSError where the kernel refuses.
    """
    if sys.platform != "linux":
        return
    if _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent_pid:
        # The parent died before the kernel was asked: no signal will ever come.
        os.kill(os.getpid(), signal.SIGKILL)


def end_with(parent_pid: int) -> None:
    """Have a thread kill the calling process (SIGKILL) soon after its parent has died.

    The kernel's own signal would come as well when only the thread ends that started the process.
    """

    def watch() -> None:
        while os.getppid() == parent_pid:
            time.sleep(_ORPHAN_LOOK_SECONDS)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="orphan", daemon=True).start()


class Child:
    """One running child process, in a session of its own so that Ctrl-C does not reach it."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        pass_fds: Sequence[int] = (),
    ) -> None:
        """Start it; raises OSError where it cannot be executed."""
        parent_pid = os.getpid()
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            pass_fds=pass_fds,
            start_new_session=True,
            # Safe here: whoever starts children has one thread.
            preexec_fn=lambda: die_with(parent_pid),  # noqa: PLW1509
        )
        self._tail = b""
        self.started_at = time.monotonic()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def output(self) -> int:
        """The descriptor that its stdout and stderr are read from."""
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def exit_code(self) -> int | None:
        """As of `subprocess`: None while it runs, minus the signal's number where one ended it."""
        return self._process.poll()

    def relay(self) -> bool:
        """Pass what it printed on to our stderr; False once it and its children closed theirs."""
        chunk = os.read(self.output, _CHUNK_BYTES)
        self._tail = (self._tail + chunk)[-_TAIL_BYTES:]
        # A terminal that is gone must not end the service before its parts were stopped.
        with contextlib.suppress(OSError):
            os.write(sys.stderr.fileno(), chunk)
        return bool(chunk)

    def relay_rest(self) -> None:
        """Pass on what is already there, and wait for no more: a child of its own may live on."""
        waiting = select.poll()
        waiting.register(self.output, select.POLLIN)
        while waiting.poll(0) and self.relay():
            continue

    def last_lines(self) -> str:
        """The end of what it printed."""
        text = self._tail.decode(errors="replace")
        return "\n".join(text.splitlines()[-_TAIL_LINES:])

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal; nothing happens where it has ended already."""
        self._process.send_signal(number)

    def close(self) -> None:
        """Let go of an ended child's output."""
        if self._process.stdout is not None:
            self._process.stdout.close()


class Family:
    """The children of this process: whoever waits here keeps their output flowing."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def adopt(self, child: Child) -> None:
        """Relay this child's output from now on."""
        self._selector.register(child.output, selectors.EVENT_READ, child)

    def bury(self, child: Child) -> None:
        """Relay the last output of a child that has ended, then let go of it."""
        with contextlib.suppress(KeyError):
            self._selector.unregister(child.output)
        child.relay_rest()
        child.close()

    def wait(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Relay until the condition holds or the time is over; the condition's last value."""
        deadline = time.monotonic() + seconds
        while not condition():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self._pump(min(left, _LOOK_SECONDS))
        return True

    def _pump(self, seconds: float) -> None:
        for key, _ in self._selector.select(seconds):
            child: Child = key.data
            if not child.relay():
                self._selector.unregister(child.output)
