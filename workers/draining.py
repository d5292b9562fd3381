"""The one flag that a pool child looks at between steps: is this worker being stopped?"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

DRAIN_SIGNAL = signal.SIGUSR2
_draining = threading.Event()


def listen() -> None:
    """Raise the flag when DRAIN_SIGNAL comes; for the main thread of a pool child."""
    signal.signal(DRAIN_SIGNAL, lambda *_: _draining.set())


def draining() -> bool:
    """Whether no new work may begin and running work must go back to the queue."""
    return _draining.is_set()


@contextmanager
def at_work() -> Iterator[None]:
    """Have SIGTERM wait until the block, drained, ends; for the main thread of a pool child.

    Whoever stops all processes at once sends it to this one too.
    """
    terminated = threading.Event()

    def note(*_: object) -> None:
        _draining.set()
        terminated.set()

    before = signal.signal(signal.SIGTERM, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        if terminated.is_set():
            os.kill(os.getpid(), signal.SIGTERM)
