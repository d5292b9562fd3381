"""Writes of several threads in one transaction: one wait for the disk for all of them."""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection

Done = TypeVar("Done")

# So long is nobody kept waiting by what came after.
_MOST_AT_ONCE = 64


@dataclass(frozen=True, eq=False)
class _Write:
    task: Callable[[Connection], Any]
    done: Future[Any] = field(default_factory=Future)


class WritesTogether:
    """Whoever comes while a transaction is under way shares the next one; safe between threads.

    The first of them runs the tasks of all, each in a savepoint of its own: one that raises takes
    nothing of the others back. Where the transaction itself fails, so do all.
    """

    def __init__(self, begin: Callable[[], AbstractContextManager[Connection]]) -> None:
        self._begin = begin
        self._waiting: deque[_Write] = deque()
        self._turn = threading.Lock()

    def run(self, task: Callable[[Connection], Done]) -> Done:
        """What the task gives, once it is committed."""
        mine = _Write(task)
        self._waiting.append(mine)
        with self._turn:
            while not mine.done.done():
                self._run_waiting()
        found: Done = mine.done.result()
        return found

    def _run_waiting(self) -> None:
        n = min(len(self._waiting), _MOST_AT_ONCE)
        writes = [self._waiting.popleft() for _ in range(n)]
        attempt = _attempt_beside_others if n > 1 else _attempt
        try:
            with self._begin() as connection:
                tell = [attempt(connection, one) for one in writes]
        except BaseException as error:
            tell = [partial(one.done.set_exception, error) for one in writes]
        for told in tell:
            told()


def _attempt(connection: Connection, one: _Write) -> Callable[[], None]:
    """Run the task; what tells its thread of it, once all is committed."""
    return partial(one.done.set_result, one.task(connection))


def _attempt_beside_others(connection: Connection, one: _Write) -> Callable[[], None]:
    """The same; where it raises, only what it did is taken back."""
    try:
        with connection.begin_nested():
            return _attempt(connection, one)
    except Exception as error:
        return partial(one.done.set_exception, error)
