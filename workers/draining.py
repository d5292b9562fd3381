"""The one flag that a pool child looks at between steps: is this worker being stopped?"""

import signal
import threading

DRAIN_SIGNAL = signal.SIGUSR2
_draining = threading.Event()


def listen() -> None:
    """Raise the flag when DRAIN_SIGNAL comes; for the main thread of a pool child."""
    signal.signal(DRAIN_SIGNAL, lambda *_: _draining.set())


def draining() -> bool:
    """Whether no new work may begin and running work must go back to the queue."""
    return _draining.is_set()
