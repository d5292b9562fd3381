"""How much of what is said of a fit is still measured at its end."""

import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from workers.engine import Interrupted, aside, look, looking

Taken = TypeVar("Taken")

# Beside the second until a cancel is seen this leaves most of one for all the rest.
_MOMENT_SECONDS = 0.4


class Take(Protocol):
    """Measures what the task measures, or leaves it out: None."""

    def __call__(self, task: Callable[[], Taken]) -> Taken | None:
        """What the task gives."""


def everything(task: Callable[[], Taken]) -> Taken | None:
    """However long it takes."""
    return task()


class Moment:
    """As much as fits into a moment, for whoever cancels a fit waits for its end.

    `watcher` watches it meanwhile: see `workers.engine.looking`.
    """

    def __init__(self, watcher: Callable[[], None]) -> None:
        self._watcher = watcher
        self._ends = time.monotonic() + _MOMENT_SECONDS

    def __call__(self, task: Callable[[], Taken]) -> Taken | None:
        """What the task gives, unless the moment is over before that."""
        try:
            with looking(self._end_if_over):
                look()
                return aside(task)
        except Interrupted:
            return None

    def _end_if_over(self) -> None:
        self._watcher()
        if time.monotonic() > self._ends:
            raise Interrupted
