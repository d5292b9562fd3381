"""The storage of record: every table, every query, and nothing else that speaks SQL."""

from sqlalchemy import Connection

from service.database.connection import Database, DatabaseError, migrate

__all__ = ["Connection", "Database", "DatabaseError", "migrate"]
