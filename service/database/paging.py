"""A page of a table, newest first."""

from collections.abc import Sequence
from typing import Any

import orjson
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Row,
    Table,
    Text,
    cast,
    func,
    or_,
    select,
)

from service.schemas.lists import ListQuery


def page(
    connection: Connection,
    table: Table,
    query: ListQuery,
    owner: str,
    now: float,
    *among: ColumnElement[bool],
) -> tuple[Sequence[Row[Any]], bool]:
    """At most `query.limit` rows of `owner`'s of which all `among` holds, and whether more follow.

    The ids of what is among them are one prefix and ULIDs, so that their order is the order of
    creation.
    """
    rows = connection.execute(
        select(table)
        .where(
            table.c.owner == owner,
            table.c.deleted_at.is_(None),
            func.coalesce(table.c.expires_at, now) >= now,
            *among,
            *_filters(table, query),
        )
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
        filters.append(_holds(table.c.tags, "[", _json(query.tag)))
    for key, value in query.metadata.items():
        filters.append(_holds(table.c.metadata, "{", f"{_json(key)}:{_json(value)}"))
    return filters


def _holds(column: Column[Any], opening: str, item: str) -> ColumnElement[bool]:
    """Whether the flat JSON array or object has the item, told by its text.

    An item begins after the opening or a comma, and a quote inside another one is escaped, so
    that nothing else reads like it. LIKE is no use here: SQLite's ignores case.
    """
    text = cast(column, Text)
    return or_(*(func.replace(text, before + item, "") != text for before in (opening, ",")))


def _json(value: str) -> str:
    return orjson.dumps(value).decode()
