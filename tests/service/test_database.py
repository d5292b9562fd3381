"""The database: migrations and connections."""

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect

from service.database import Database, migrate
from service.database.schema import metadata
from service.errors import Unavailable
from service.settings import Settings


def tables(settings: Settings) -> set[str]:
    database = Database(settings.database_address)
    names = set(inspect(database.engine).get_table_names())
    database.close()
    return names - {"alembic_version"}


def test_migrations_make_the_schema_that_the_code_names(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)

    migrate(settings)
    migrate(settings)

    database = Database(settings.database_address)
    with database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    database.close()


def test_migrations_go_back_too(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    migrate(settings)

    migrate(settings, "base")
    assert tables(settings) == set()
    migrate(settings)

    assert tables(settings) == set(metadata.tables)


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
