"""Waiting for what happens elsewhere."""

import time
from collections.abc import Callable

_PAUSE_SECONDS = 0.05


def eventually(holds: Callable[[], bool], seconds: float) -> float:
    """Wait until it holds; how long that took. Fails where it takes longer than `seconds`."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < seconds
        time.sleep(_PAUSE_SECONDS)
    return time.monotonic() - began
