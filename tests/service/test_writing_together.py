"""Writes that share a transaction, and transactions that wait for one another."""

import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import pytest
from sqlalchemy import Connection, event, text

from service.context import Context
from service.database import Database, DatabaseError
from service.database import connection as module
from service.database.owners import hold_everybody
from service.datasets import create_inline_dataset
from service.errors import Quota, QuotaExceeded
from service.schemas.datasets import DatasetRequest
from tests.eventually import eventually
from tests.installations import EMBEDDED_ALONE, PRODUCTION_ALONE
from tests.service.conftest import OWNER
from tests.service.test_at_one_moment import post_batch, post_fit

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
    """A write that goes on until others wait for the next transaction; counts the commits."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.n_commits = 0
        event.listen(database.engine, "commit", self._count)
        began = threading.Event()
        self.go_on = threading.Event()

        def first(_: Connection) -> None:
            began.set()
            assert self.go_on.wait(SECONDS)

        self.pool = ThreadPoolExecutor(100)
        self.first = self.pool.submit(database.write_together, first)
        assert began.wait(SECONDS)

    def _count(self, _: Connection) -> None:
        self.n_commits += 1

    def submit(self, *tasks: Callable[[Connection], str]) -> list[Future[str]]:
        """Let the tasks come meanwhile, and the first one go on."""
        futures = [self.pool.submit(self.database.write_together, task) for task in tasks]
        together = self.database._together
        if together is not None:
            eventually(lambda: len(together._waiting) == len(tasks), SECONDS)
        self.go_on.set()
        self.pool.shutdown()
        return futures


def test_each_thread_has_what_its_own_task_gives(context: Context) -> None:
    names = [f"owner-{i}" for i in range(8)]

    futures = Held(context.database).submit(*(inserting(name) for name in names))

    assert [future.result() for future in futures] == [name.upper() for name in names]
    assert owners(context.database) == names


@EMBEDDED_ALONE
def test_who_comes_while_one_writes_shares_the_next_transaction(context: Context) -> None:
    names = [f"owner-{i:02}" for i in range(70)]
    held = Held(context.database)

    futures = held.submit(*(inserting(name) for name in names))

    assert [future.result() for future in futures] == [name.upper() for name in names]
    assert owners(context.database) == names
    assert held.n_commits == 3, "the first one's, that of 64, and that of the rest"


@EMBEDDED_ALONE
def test_a_full_disk_fails_all_who_share_a_transaction_and_leaves_nothing(
    context: Context,
) -> None:
    # given a file that may not grow by much
    def much(connection: Connection) -> str:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 4}")
        return inserting("x" * 100_000)(connection)

    # when one of three writes more
    futures = Held(context.database).submit(inserting("before"), much, inserting("after"))

    # then none of them is told that it is kept, and none is
    assert {type(future.exception()).__name__ for future in futures} == {"OperationalError"}
    assert all("full" in str(future.exception()) for future in futures)
    assert owners(context.database) == []


def test_a_task_that_raises_takes_nothing_of_the_others_back(context: Context) -> None:
    good = [f"owner-{i}" for i in range(4)]

    *futures, twice, refused = Held(context.database).submit(
        *(inserting(name) for name in good), inserting("twice", 2), refusing
    )

    with pytest.raises(DatabaseError):
        twice.result()
    with pytest.raises(QuotaExceeded, match="not this one"):
        refused.result()
    assert [future.result() for future in futures] == [name.upper() for name in good]
    assert owners(context.database) == good


def refusing(connection: Connection) -> str:
    """Insert a row, and take it back by raising."""
    connection.execute(_INSERT, {"owner": "refused", "n": 0})
    raise QuotaExceeded("not this one", Quota("rows", 1, 0))


def test_alone_a_task_that_raises_leaves_nothing_either(context: Context) -> None:
    with pytest.raises(QuotaExceeded, match="not this one"):
        context.database.write_together(refusing)

    assert owners(context.database) == []
    assert context.database.write_together(inserting("next")) == "NEXT"


@EMBEDDED_ALONE
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


@EMBEDDED_ALONE
def test_only_what_must_outlive_a_loss_of_power_waits_for_the_disk(context: Context) -> None:
    def flushes(connection: Connection) -> int:
        return int(connection.exec_driver_sql("PRAGMA synchronous").scalar_one())

    full, normal = 2, 1
    with context.database.write() as connection:
        assert flushes(connection) == full
    with context.database.write(flushed=False) as connection:
        assert flushes(connection) == normal
    assert context.database.write_together(flushes) == full


@EMBEDDED_ALONE
def test_who_waits_for_the_lock_looks_for_it_evenly(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given another process that writes
    other = sqlite3.connect(context.settings.data_dir / "thalweg.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 50:
            other.execute("COMMIT")

    monkeypatch.setattr("service.database.connection.time.sleep", sleep)

    # when somebody would write too
    assert context.database.write_together(inserting("late")) == "LATE"

    # then they look for the lock as often as before, however long it takes
    assert len(waited) == 50
    assert len(set(waited)) == 1
    other.close()


def test_what_recovers_the_log_is_waited_for_as_well() -> None:
    class Recovered(sqlite3.Connection):
        """A connection that finds the log being recovered, at first."""

        n_refusals = 3

        def execute(self, statement: str, *parameters: Any) -> sqlite3.Cursor:
            """As it would be, but for the first times."""
            if statement == "BEGIN IMMEDIATE" and self.n_refusals:
                self.n_refusals -= 1
                error = sqlite3.OperationalError("database is locked")
                error.sqlite_errorcode = 261  # SQLITE_BUSY_RECOVERY
                raise error
            return super().execute(statement, *parameters)

    assert module._Beginnings()._begun(Recovered(":memory:"))


@PRODUCTION_ALONE
def test_posts_go_on_beside_each_other_and_batches_alone(
    context: Context, table: DatasetRequest
) -> None:
    dataset = create_inline_dataset(context, table, OWNER)["id"]
    with ThreadPoolExecutor(2) as pool:
        with context.database.write() as connection:
            # given a post before its commit
            hold_everybody(connection, alone=False)

            # then another one is not held up by it, but what takes many places is
            post_fit(context, dataset, OWNER)
            batch = pool.submit(post_batch, context, dataset, OWNER, 2)
            assert wait([batch], 0.5).not_done
        assert batch.result(SECONDS)
