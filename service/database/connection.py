"""Connections: SQLite in WAL on one node, PostgreSQL on many."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import orjson
from sqlalchemy import Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import DBAPIError, OperationalError

from service.database.together import WritesTogether
from service.errors import Unavailable
from service.settings import Settings

Done = TypeVar("Done")

# What every query raises where the database does not answer.
DatabaseError = DBAPIError

_MIGRATIONS = Path(__file__).parent.parent / "migrations"
_BUSY_SECONDS = 30
# SQLite itself looks for its lock ever more seldom, up to ten times a second.
_LOOK_FOR_THE_LOCK_SECONDS = 0.0005
# What `_Beginnings` knows connections by: those that read take no lock.
_SQLITE_READS = {"single_statements": True}
_NOT_FLUSHED = {"not_flushed": True}


class Database:
    """One pool of connections; safe to share between threads."""

    def __init__(self, url: str) -> None:
        embedded = url.startswith("sqlite")
        self.engine = _sqlite_engine(url) if embedded else _server_engine(url)
        self._reader = self.engine.execution_options(
            **(_SQLITE_READS if embedded else {"isolation_level": "AUTOCOMMIT"})
        )
        # Of a server that has lost power the other machines go on: they would know better.
        unflushed = _NOT_FLUSHED if embedded else {}
        self._unflushed = self.engine.execution_options(**unflushed)
        # A server commits for many at once by itself.
        self._together = WritesTogether(self.write) if embedded else None

    @contextmanager
    def write(self, *, flushed: bool = True) -> Iterator[Connection]:
        """One transaction: committed at the end of the block, rolled back where it raises.

        One that is not `flushed` outlives every process, but not the machine's loss of power: then
        it may be undone, and nothing that was committed before it.
        """
        with (self.engine if flushed else self._unflushed).begin() as connection:
            yield connection

    @property
    def writes_in_turn(self) -> bool:
        """Whether of the transactions that write one goes on at a time."""
        return self._together is not None

    def write_together(self, task: Callable[[Connection], Done]) -> Done:
        """Run the task in a transaction that it may share with those of other threads.

        As many threads that write at one moment wait for the disk once. Raises what the task
        raises, whose own writes alone are rolled back then.
        """
        if self._together is not None:
            return self._together.run(task)
        with self.write() as connection:
            return task(connection)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Single statements, each seeing what was committed before it."""
        with self._reader.connect() as connection:
            yield connection

    def check(self) -> None:
        """Raise where the database does not answer or has not been migrated."""
        with self.read() as connection:
            connection.execute(text("SELECT 1 FROM fits LIMIT 1"))

    def has_table(self, name: str) -> bool:
        """Whether the database has come so far."""
        return inspect(self.engine).has_table(name)

    def close(self) -> None:
        """Give every connection back."""
        self.engine.dispose()


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def _server_engine(url: str) -> Engine:
    engine = create_engine(
        make_url(url),
        pool_size=32,
        pool_pre_ping=True,
        json_serializer=_json,
        json_deserializer=orjson.loads,
    )
    event.listen(engine, "connect", _prepare_server)
    return engine


def _prepare_server(connection: Any, _record: object) -> None:
    # A recursive statement of a few steps is taken for a long one: compiling it took 0.1 to 0.7 s,
    # and running it less than 1 ms.
    connection.execute("SET jit = off")
    connection.commit()


def _sqlite_engine(url: str) -> Engine:
    engine = create_engine(
        url,
        pool_size=40,
        connect_args={"timeout": _BUSY_SECONDS},
        json_serializer=_json,
        json_deserializer=orjson.loads,
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _Beginnings().begin)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver would otherwise begin transactions late, and by rules of its own.
    connection.isolation_level = None
    for pragma in (
        "journal_mode = WAL",
        "foreign_keys = ON",
        # Four times as many pages as by default are written before they are put in their places:
        # what a batch changes again and again is put there, and waited for, less often.
        "wal_autocheckpoint = 4000",
        f"busy_timeout = {_BUSY_SECONDS * 1000}",
    ):
        connection.execute(f"PRAGMA {pragma}")


class _Beginnings:
    """How SQLite's transactions begin: each with the one lock for writing."""

    def __init__(self) -> None:
        # Of a process one thread at a time looks for the lock; the others wait for their turn.
        self._turn = threading.Lock()

    def begin(self, connection: Connection) -> None:
        """Take the lock, or raise what says that others had it for too long."""
        options = connection.get_execution_options()
        if options.get("single_statements"):
            return
        raw: Any = connection.connection.driver_connection
        synchronous = "NORMAL" if options.get("not_flushed") else "FULL"
        raw.execute(f"PRAGMA synchronous = {synchronous}")
        raw.execute("PRAGMA busy_timeout = 0")
        try:
            if not self._begun(raw):
                connection.exec_driver_sql("BEGIN IMMEDIATE")
        finally:
            raw.execute(f"PRAGMA busy_timeout = {_BUSY_SECONDS * 1000}")

    def _begun(self, raw: sqlite3.Connection) -> bool:
        """Wait for the lock and take it; False where that fails or takes too long.

        At the beginning: a read that is promoted to a write later fails at once where another
        process writes.
        """
        until = time.monotonic() + _BUSY_SECONDS
        if not self._turn.acquire(timeout=_BUSY_SECONDS):
            return False
        try:
            while time.monotonic() < until:
                try:
                    raw.execute("BEGIN IMMEDIATE")
                except sqlite3.OperationalError as error:
                    # Its last byte is the kind, the others say of what.
                    if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                        return False
                    time.sleep(_LOOK_FOR_THE_LOCK_SECONDS)
                else:
                    return True
            return False
        finally:
            self._turn.release()


def _let_tables_be_remade(connection: Connection) -> None:
    # SQLite changes a table by making it anew, and would not drop the old one while rows of
    # others refer to it. Inside a transaction this pragma does nothing.
    connection.connection.cursor().execute("PRAGMA foreign_keys = OFF")


def migrate(settings: Settings, revision: str = "head") -> None:
    """Bring the database forward to `revision`, or back to `base`; makes SQLite's file if need be.

    Raises Unavailable where the database cannot be reached.
    """
    # Imported here, because only the launcher and `thalweg migrate` need it.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    if settings.database_url is None:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    database = Database(settings.database_address)
    try:
        with database.engine.connect() as connection:
            if database.engine.dialect.name == "sqlite":
                _let_tables_be_remade(connection)
            with connection.begin():
                config.attributes["connection"] = connection
                (command.downgrade if revision == "base" else command.upgrade)(config, revision)
    except OperationalError as error:
        raise Unavailable(f"the database does not answer: {error.orig}") from error
    finally:
        database.close()
