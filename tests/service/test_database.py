"""The database: migrations and connections."""

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text

import service.migrations
from service.context import Context
from service.database import Database, migrate
from service.database.schema import metadata
from service.errors import Unavailable
from service.settings import Settings
from tests.installations import EMBEDDED, PRODUCTION_ALONE
from tests.postgresql import EMPTY


@pytest.fixture
def empty(request: pytest.FixtureRequest, installation: str, tmp_path: Path) -> Iterator[Settings]:
    """Settings of a database without a table."""
    if installation == EMBEDDED:
        yield Settings(data_dir=tmp_path)
        return
    with request.getfixturevalue("postgresql").database(EMPTY) as url:
        yield Settings(data_dir=tmp_path, database_url=url)


def tables(settings: Settings) -> set[str]:
    database = Database(settings.database_address)
    names = set(inspect(database.engine).get_table_names())
    database.close()
    return names - {"alembic_version"}


def test_migrations_make_the_schema_that_the_code_names(empty: Settings) -> None:
    migrate(empty)
    migrate(empty)

    database = Database(empty.database_address)
    with database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    database.close()


def test_migrations_go_back_too(empty: Settings) -> None:
    migrate(empty)

    migrate(empty, "base")
    assert tables(empty) == set()
    migrate(empty)

    assert tables(empty) == set(metadata.tables)


def insert(connection: Connection, fit_id: str, **more: str) -> None:
    """A fit that has ended, with an artifact, as the oldest version would have it, and more."""
    if not connection.execute(text("SELECT count(*) FROM datasets")).scalar():
        connection.execute(
            text(
                "INSERT INTO datasets (id, owner, created_at, n_rows, size_bytes, digest, columns, "
                "storage_key, tags, metadata) "
                "VALUES ('ds', 'o', 1, 1, 1, 'd', '[]', 'k', '[]', '{}')"
            )
        )
    given = {
        "id": fit_id, "owner": "o", "status": "succeeded", "dataset_id": "ds", "spec": "{}",
        "created_at": 1, "attempt": 1, "fence": 1, "tags": "[]", "metadata": "{}",
    } | more  # fmt: skip
    named = ", ".join(given), ", ".join(f":{name}" for name in given)
    connection.execute(text(f"INSERT INTO fits ({named[0]}) VALUES ({named[1]})"), given)  # noqa: S608 (our own names)
    connection.execute(
        text(
            "INSERT INTO artifacts (fit_id, name, digest, size_bytes) "
            "VALUES (:fit_id, 'weights', 'd', 1)"
        ),
        {"fit_id": fit_id},
    )


def test_rows_go_through_every_migration(empty: Settings) -> None:
    migrate(empty, "0002")
    database = Database(empty.database_address)
    with database.write() as connection:
        insert(connection, "fit_1")

    migrate(empty)

    with database.read() as connection:
        rows = connection.execute(text("SELECT id, kind FROM fits")).fetchall()
        assert rows == [("fit_1", "fit")]
        assert connection.execute(text("SELECT fit_id FROM artifacts")).scalar() == "fit_1"
        if empty.database_url is None:
            assert connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall() == []
    database.close()
    migrate(empty, "base")
    assert tables(empty) == set()


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://Example.org/fits", "example.org:443"),
        ("http://example.org?a=b", "example.org:80"),
        ("http://[::1]:8080/", "::1:8080"),
    ],
)
def test_messages_that_wait_are_known_by_their_hosts(empty: Settings, url: str, host: str) -> None:
    migrate(empty, "0010")
    database = Database(empty.database_address)
    insert_messages(database, [url])

    migrate(empty)

    with database.read() as connection:
        assert connection.execute(text("SELECT host FROM deliveries")).scalar() == host
    database.close()


def insert_messages(database: Database, urls: list[str]) -> None:
    """Messages that wait, as the first version that had any would have them."""
    with database.write() as connection:
        connection.execute(
            text(
                "INSERT INTO deliveries (id, owner, subject, url, body, created_at, state, n_tries,"
                " next_at) VALUES (:id, 'o', 'fit_1', :url, '{}', 1, 'waiting', 0, 1)"
            ),
            [{"id": f"msg_{i}", "url": url} for i, url in enumerate(urls)],
        )


def test_however_many_messages_wait_a_migration_holds_a_few_of_them(empty: Settings) -> None:
    # given messages whose addresses are 20 MB
    migrate(empty, "0010")
    database = Database(empty.database_address)
    insert_messages(database, [f"https://h{i}.example.org/{'x' * 2000}" for i in range(10_000)])

    tracemalloc.start()
    try:
        migrate(empty)
        _, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    # then all have their hosts, and at no moment were they all in memory
    with database.read() as connection:
        hosts = connection.execute(text("SELECT DISTINCT host FROM deliveries")).scalars().all()
    database.close()
    assert {*hosts} == {f"h{i}.example.org:443" for i in range(10_000)}
    assert most_bytes < 12_000_000


def test_a_version_that_knows_fits_alone_finds_nothing_else(empty: Settings) -> None:
    # given a fit and a range test, each with an artifact
    migrate(empty)
    database = Database(empty.database_address)
    with database.write() as connection:
        insert(connection, "fit_1")
        insert(connection, "lrt_1", kind="lr_range_test")

    # when the database goes back to the version before
    config = Config()
    config.set_main_option("script_location", str(Path(service.migrations.__file__).parent))
    with database.engine.connect() as connection:
        if empty.database_url is None:
            connection.connection.cursor().execute("PRAGMA foreign_keys = OFF")
        with connection.begin():
            config.attributes["connection"] = connection
            command.downgrade(config, "0003")

    # then the fit alone is there
    with database.read() as connection:
        ids = [
            connection.execute(text(f"SELECT {column} FROM {table}")).scalars().all()  # noqa: S608 (our own names)
            for column, table in (("id", "fits"), ("fit_id", "artifacts"))
        ]
    database.close()
    assert ids == [["fit_1"]] * 2


def test_a_database_that_cannot_be_opened_is_unavailable(tmp_path: Path) -> None:
    settings = Settings(database_url=f"sqlite:///{tmp_path}/missing/directory/x.db")

    with pytest.raises(Unavailable):
        migrate(settings)


def test_sqlite_is_durable_and_enforces_its_keys(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/x.db")
    with database.read() as connection:
        pragmas = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    database.close()

    assert pragmas == ["wal", 2, 1]


@PRODUCTION_ALONE
def test_postgresql_compiles_no_statement(context: Context) -> None:
    with context.database.read() as reading, context.database.write() as writing:
        assert [one.execute(text("SHOW jit")).scalar() for one in (reading, writing)] == ["off"] * 2
