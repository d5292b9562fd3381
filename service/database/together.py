"""Writes of several threads in one transaction: one wait for the disk for all of them."""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from copy import copy
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, IntegrityError

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
        writes: list[_Write] = []
        try:
            with self._begin() as connection:
                writes = self._taken(_MOST_AT_ONCE)
                attempt = _attempt_beside_others if len(writes) > 1 else _attempt
                tell = [attempt(connection, one) for one in writes]
        except BaseException as error:
            # Where it could not even begin, nobody who has waited as long is to try once more.
            tell = [partial(_fail, one, error) for one in writes or self._taken()]
        for told in tell:
            told()

    def _taken(self, most: int | None = None) -> list[_Write]:
        n = len(self._waiting) if most is None else min(len(self._waiting), most)
        return [self._waiting.popleft() for _ in range(n)]


def _attempt(connection: Connection, one: _Write) -> Callable[[], None]:
    """Run the task; what tells its thread of it, once all is committed."""
    return partial(one.done.set_result, one.task(connection))


def _attempt_beside_others(connection: Connection, one: _Write) -> Callable[[], None]:
    """The same; where it raises, only what it did is taken back.

    But where the database fails: of a disk that is full SQLite takes back the whole transaction.
    """
    savepoint = connection.begin_nested()
    try:
        tell = _attempt(connection, one)
    except Exception as error:
        if isinstance(error, DBAPIError) and not isinstance(error, IntegrityError):
            raise
        savepoint.rollback()
        return partial(one.done.set_exception, error)
    savepoint.commit()
    return tell


def _fail(one: _Write, error: BaseException) -> None:
    """What the database fails with is a thread's own, for whoever raises it writes into it."""
    one.done.set_exception(copy(error) if isinstance(error, DBAPIError) else error)
