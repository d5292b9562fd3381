"""How a computation is ended from outside, wherever it is."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

Cut = Literal["interrupted", "time_limit"]
# Raises Interrupted where the computation that it watches is to end.
Watcher = Callable[[], None]


class Interrupted(Exception):
    """The computation is to end here; `status` says why."""

    def __init__(self, status: Cut = "interrupted") -> None:
        super().__init__(status)
        self.status: Cut = status


def undisturbed() -> None:
    """The watcher of a block that goes on to its end, whatever is asked for."""


def _nobody() -> None:
    """The watcher of what nobody watches."""


_watcher: ContextVar[Watcher] = ContextVar("watcher", default=_nobody)


def look() -> None:
    """Raise Interrupted where the computation is to end: whatever goes on for long calls it.

    Its watcher is not handed down as an argument: passes over rows lie deep below those who know
    why a fit is to end.
    """
    _watcher.get()()


def is_watched() -> bool:
    """Whether a look may ever raise."""
    return _watcher.get() not in (_nobody, undisturbed)


@contextmanager
def looking(watcher: Watcher) -> Iterator[None]:
    """Have `look`, within the block, ask this watcher."""
    before = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(before)
