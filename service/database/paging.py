"""A page of a table, newest first."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Table, Text, cast, select

from service.schemas.lists import ListQuery


def page(
    connection: Connection, table: Table, query: ListQuery, owner: str
) -> tuple[Sequence[Row[Any]], bool]:
    """At most `query.limit` rows of `owner`'s, and whether more follow.

    Ids are ULIDs, so that their order is the order of creation.
    """
    rows = connection.execute(
        select(table)
        .where(table.c.owner == owner, table.c.deleted_at.is_(None), *_filters(table, query))
        .order_by(table.c.id.desc())
        .limit(query.limit + 1)
    ).fetchall()
    return rows[: query.limit], len(rows) > query.limit


def _filters(table: Table, query: ListQuery) -> list[ColumnElement[bool]]:
    filters: list[ColumnElement[bool]] = []
    if query.after is not None:
        filters.append(table.c.id < query.after)
    if query.status is not None:
        filters.append(table.c.status == query.status)
    if query.created_after is not None:
        filters.append(table.c.created_at > query.created_after)
    if query.tag is not None:
        # A tag stands in the JSON text in quotes, so that no part of another one matches.
        quoted = _json_string(query.tag)
        filters.append(cast(table.c.tags, Text).contains(quoted, autoescape=True))
    filters += [table.c.metadata[key].as_string() == value for key, value in query.metadata.items()]
    return filters


def _json_string(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
