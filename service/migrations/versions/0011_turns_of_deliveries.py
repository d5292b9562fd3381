"""deliveries.host: owners take turns at what is due, and a host that is away is left alone."""

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_INDEX = "ix_deliveries_state_owner_next_at"
_DELIVERIES = sa.table(
    "deliveries", sa.column("id"), sa.column("url"), sa.column("state"), sa.column("host")
)
_AT_ONCE = 1000


def upgrade() -> None:
    """Forward."""
    op.add_column("deliveries", sa.Column("host", sa.Text, nullable=False, server_default=""))
    connection = op.get_bind()
    for rows in _waiting(connection):
        connection.execute(
            sa.update(_DELIVERIES)
            .where(_DELIVERIES.c.id == sa.bindparam("delivery_id"))
            .values(host=sa.bindparam("its_host")),
            [{"delivery_id": row.id, "its_host": _host(row.url)} for row in rows],
        )
    op.create_index(_INDEX, "deliveries", ["state", "owner", "next_at", "host"])


def downgrade() -> None:
    """Back."""
    op.drop_index(_INDEX, "deliveries")
    op.drop_column("deliveries", "host")


def _waiting(connection: sa.Connection) -> Iterator[Sequence[Any]]:
    """Messages by their ids, a part of them at a time: there can be more than memory holds.

    What waits no more is not looked for by its host.
    """
    after = ""
    while True:
        rows = connection.execute(
            sa.select(_DELIVERIES.c.id, _DELIVERIES.c.url)
            .where(_DELIVERIES.c.state == "waiting", _DELIVERIES.c.id > after)
            .order_by(_DELIVERIES.c.id)
            .limit(_AT_ONCE)
        ).fetchall()
        if not rows:
            return
        yield rows
        after = rows[-1].id


def _host(url: str) -> str:
    try:
        parts = urlsplit(url)
        return f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
    except ValueError:
        # An address that no try reaches has no host to share.
        return ""
