"""deliveries.host: owners take turns at what is due, and a host that is away is left alone."""

from urllib.parse import urlsplit

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_INDEX = "ix_deliveries_state_owner_next_at"


def upgrade() -> None:
    """Forward."""
    op.add_column("deliveries", sa.Column("host", sa.Text, nullable=False, server_default=""))
    deliveries = sa.table(
        "deliveries", sa.column("id"), sa.column("url"), sa.column("state"), sa.column("host")
    )
    connection = op.get_bind()
    # What waits no more is not looked for by its host.
    waiting = connection.execute(
        sa.select(deliveries.c.id, deliveries.c.url).where(deliveries.c.state == "waiting")
    ).fetchall()
    if waiting:
        connection.execute(
            sa.update(deliveries)
            .where(deliveries.c.id == sa.bindparam("delivery_id"))
            .values(host=sa.bindparam("its_host")),
            [{"delivery_id": row.id, "its_host": _host(row.url)} for row in waiting],
        )
    op.create_index(_INDEX, "deliveries", ["state", "owner", "next_at", "host"])


def downgrade() -> None:
    """Back."""
    op.drop_index(_INDEX, "deliveries")
    op.drop_column("deliveries", "host")


def _host(url: str) -> str:
    try:
        parts = urlsplit(url)
        return f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
    except ValueError:
        # An address that no try reaches has no host to share.
        return ""
