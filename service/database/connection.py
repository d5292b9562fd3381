"""Connections: SQLite in WAL on one node, PostgreSQL on many."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import DBAPIError, OperationalError

from service.errors import Unavailable
from service.settings import Settings

# What every query raises where the database does not answer.
DatabaseError = DBAPIError

_MIGRATIONS = Path(__file__).parent.parent / "migrations"
_BUSY_SECONDS = 30
# What `_begin_immediately` knows reading connections by: they take no lock.
_SQLITE_READS = {"single_statements": True}


class Database:
    """One pool of connections; safe to share between threads."""

    def __init__(self, url: str) -> None:
        embedded = url.startswith("sqlite")
        self.engine = _sqlite_engine(url) if embedded else _server_engine(url)
        self._reader = self.engine.execution_options(
            **(_SQLITE_READS if embedded else {"isolation_level": "AUTOCOMMIT"})
        )

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction: committed at the end of the block, rolled back where it raises."""
        with self.engine.begin() as connection:
            yield connection

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
    event.listen(engine, "begin", _begin_immediately)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver would otherwise begin transactions late, and by rules of its own.
    connection.isolation_level = None
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
        f"busy_timeout = {_BUSY_SECONDS * 1000}",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_immediately(connection: Connection) -> None:
    # A read that is promoted to a write later would fail at once where another process writes.
    if not connection.get_execution_options().get("single_statements"):
        connection.exec_driver_sql("BEGIN IMMEDIATE")


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
