"""What may take seconds between two looks, on a thread that can be left alone."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextvars import copy_context
from functools import partial
from typing import Generic, TypeVar

import torch

from workers.engine.interrupting import Interrupted, is_watched, look, looking

Made = TypeVar("Made")

# A call of so many multiplications takes some tenths of a second.
MUCH_WORK = 2**30
_LOOK_SECONDS = 0.05

# Threads whose results nobody waits for any more.
_left_alone: list[threading.Thread] = []


def aside(task: Callable[[], Made]) -> Made:
    """The task's result, computed by another thread while this one looks.

    For what may take seconds between two looks, one call of a library say. Where a look raises, the
    other thread is left alone, and told so by its own looks: the task must change nothing that
    anybody reads after that. See `wait_for_others`.
    """
    if not is_watched():
        return task()
    running = _Aside(task)
    try:
        while not wait([running.made], _LOOK_SECONDS).done:
            look()
    except BaseException:
        running.leave()
        raise
    return running.made.result()


def aside_if(takes_long: bool, task: Callable[[], Made]) -> Made:
    """`aside`, but by this thread where that takes no time to speak of: a thread costs some."""
    return aside(task) if takes_long else task()


def are_others_left() -> bool:
    """Whether a thread that was left alone may still compute."""
    return any(thread.is_alive() for thread in _left_alone)


def wait_for_others(seconds: float | None = None) -> bool:
    """Wait until the threads that were left alone have come to an end of their own; True then.

    They hold memory and cores that the next computation needs, and read what the last one read.
    False where that takes longer than `seconds`.
    """
    until = None if seconds is None else time.monotonic() + seconds
    while _left_alone:
        thread = _left_alone[-1]
        thread.join(None if until is None else max(0.0, until - time.monotonic()))
        if thread.is_alive():
            return False
        # By its name: as it ended it may have left another one alone.
        _left_alone.remove(thread)
    return True


class _Aside(Generic[Made]):
    """A task on a thread of its own; `made` is what it comes to."""

    def __init__(self, task: Callable[[], Made]) -> None:
        self.made: Future[Made] = Future()
        self._is_left = threading.Event()
        run = partial(self._run, task, torch.get_num_threads())
        # Not to be waited for where the process is to end.
        self._thread = threading.Thread(
            target=copy_context().run, args=(run,), name="aside", daemon=True
        )
        self._thread.start()

    def leave(self) -> None:
        """Nobody waits for the result."""
        self._is_left.set()
        _left_alone.append(self._thread)

    def _run(self, task: Callable[[], Made], n_threads: int) -> None:
        # It would have others of torch's than the one that it stands in for.
        torch.set_num_threads(n_threads)
        try:
            with looking(self._end_if_left):
                made = task()
        except BaseException as error:
            self.made.set_exception(error)
        else:
            self.made.set_result(made)

    def _end_if_left(self) -> None:
        if self._is_left.is_set():
            raise Interrupted
