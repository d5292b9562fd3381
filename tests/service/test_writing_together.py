"""Writes that share a transaction, and transactions that wait for one another."""

import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from service.context import Context
from service.database import Database, DatabaseError
from service.database import connection as module

SECONDS = 60.0
_INSERT = text("INSERT INTO turns (queue, owner, taken_at) VALUES ('q', :owner, :n)")
_ALL = text("SELECT owner FROM turns ORDER BY owner")


def inserting(owner: str, n_inserts: int = 1) -> Callable[[Connection], str]:
    """What inserts a row; a second time it violates the key."""

    def task(connection: Connection) -> str:
        for n in range(n_inserts):
            connection.execute(_INSERT, {"owner": owner, "n": n})
        return owner.upper()

    return task


def owners(database: Database) -> list[str]:
    with database.read() as connection:
        return list(connection.execute(_ALL).scalars())


class Held:
    """A write that holds the first transaction open until others wait for the next one."""

    def __init__(self, database: Database) -> None:
        self.began = threading.Event()
        self.go_on = threading.Event()
        self.pool = ThreadPoolExecutor(16)
        self.database = database
        self.first = self.pool.submit(database.write_together, self._task)
        assert self.began.wait(SECONDS)

    def _task(self, connection: Connection) -> None:
        self.began.set()
        assert self.go_on.wait(SECONDS)

    def submit(self, *tasks: Callable[[Connection], str]) -> list[Future[str]]:
        """Let the tasks come meanwhile, and the first one go on."""
        there = threading.Barrier(len(tasks) + 1)

        def write(task: Callable[[Connection], str]) -> str:
            there.wait(SECONDS)
            return self.database.write_together(task)

        futures = [self.pool.submit(write, task) for task in tasks]
        there.wait(SECONDS)
        self.go_on.set()
        self.pool.shutdown()
        return futures


def test_each_thread_has_what_its_own_task_gives(context: Context) -> None:
    names = [f"owner-{i}" for i in range(8)]

    futures = Held(context.database).submit(*(inserting(name) for name in names))

    assert [future.result() for future in futures] == [name.upper() for name in names]
    assert owners(context.database) == names


def test_a_task_that_raises_takes_nothing_of_the_others_back(context: Context) -> None:
    good = [f"owner-{i}" for i in range(4)]

    *futures, twice, refused = Held(context.database).submit(
        *(inserting(name) for name in good), inserting("twice", 2), refusing
    )

    with pytest.raises(DatabaseError):
        twice.result()
    with pytest.raises(PermissionError, match="not this one"):
        refused.result()
    assert [future.result() for future in futures] == [name.upper() for name in good]
    assert owners(context.database) == good


def refusing(connection: Connection) -> str:
    """Insert a row, and take it back by raising."""
    connection.execute(_INSERT, {"owner": "refused", "n": 0})
    raise PermissionError("not this one")


def test_alone_a_task_that_raises_leaves_nothing_either(context: Context) -> None:
    with pytest.raises(PermissionError, match="not this one"):
        context.database.write_together(refusing)

    assert owners(context.database) == []
    assert context.database.write_together(inserting("next")) == "NEXT"


@pytest.mark.parametrize("installation", ["embedded"], indirect=True)
def test_a_transaction_that_cannot_begin_fails_for_all_who_share_it(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BUSY_SECONDS", 0.05)
    other = sqlite3.connect(context.settings.data_dir / "thalweg.db", isolation_level=None)
    held = Held(context.database)
    held.go_on.set()
    held.first.result()
    other.execute("BEGIN IMMEDIATE")
    with ThreadPoolExecutor(4) as pool:
        futures = [
            pool.submit(context.database.write_together, inserting(f"owner-{i}")) for i in range(4)
        ]
    assert {type(future.exception()).__name__ for future in futures} == {"OperationalError"}
    assert all("database is locked" in str(future.exception()) for future in futures)

    other.execute("COMMIT")
    other.close()

    assert context.database.write_together(inserting("later")) == "LATER"
    assert owners(context.database) == ["later"]


@pytest.mark.parametrize("installation", ["embedded"], indirect=True)
def test_only_what_must_outlive_a_loss_of_power_waits_for_the_disk(context: Context) -> None:
    def flushes(connection: Connection) -> int:
        return int(connection.exec_driver_sql("PRAGMA synchronous").scalar_one())

    full, normal = 2, 1
    with context.database.write() as connection:
        assert flushes(connection) == full
    with context.database.write(flushed=False) as connection:
        assert flushes(connection) == normal
    assert context.database.write_together(flushes) == full


def test_who_waits_for_the_lock_has_it_when_it_is_free(tmp_path: Path) -> None:
    # given two processes' worth of connections to one file
    url = f"sqlite:///{tmp_path / 'one.db'}"
    databases = [Database(url), Database(url)]
    with databases[0].write() as connection:
        connection.execute(text("CREATE TABLE turns (queue TEXT, owner TEXT, taken_at REAL)"))

    # when threads of both write at one moment
    def write(i: int) -> None:
        with databases[i % 2].write() as connection:
            inserting(f"owner-{i:03}")(connection)

    with ThreadPoolExecutor(16) as pool:
        for done in [pool.submit(write, i) for i in range(200)]:
            done.result()

    # then every one has
    assert len(owners(databases[1])) == 200
    for database in databases:
        database.close()
