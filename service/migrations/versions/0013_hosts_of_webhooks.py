"""webhook_hosts: how hosts answer an owner's messages; what waits is found by its host."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_BY_OWNER = "ix_deliveries_state_owner_next_at"
_BY_HOST = "ix_deliveries_state_owner_host_next_at"


def upgrade() -> None:
    """Forward."""
    op.create_table(
        "webhook_hosts",
        sa.Column("owner", sa.String(100), nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("answered_at", sa.Double, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("first_failed_at", sa.Double),
        sa.Column("silent_url", sa.Text),
        sa.Column("away_until", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("owner", "host"),
    )
    op.drop_index(_BY_OWNER, "deliveries")
    op.create_index(_BY_HOST, "deliveries", ["state", "owner", "host", "next_at"])


def downgrade() -> None:
    """Back."""
    op.drop_index(_BY_HOST, "deliveries")
    op.create_index(_BY_OWNER, "deliveries", ["state", "owner", "next_at", "host"])
    op.drop_table("webhook_hosts")
