"""turns: owners who wait take turns, and the order in which fits are claimed follows."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_INDEX = "ix_fits_status_queue"


def upgrade() -> None:
    """Forward."""
    op.create_table(
        "turns",
        sa.Column("queue", sa.String(40), nullable=False),
        sa.Column("owner", sa.String(100), nullable=False),
        sa.Column("taken_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("queue", "owner"),
    )
    op.drop_index(_INDEX, "fits")
    op.create_index(
        _INDEX, "fits", ["status", "queue", "owner", sa.text("priority DESC"), "created_at", "id"]
    )


def downgrade() -> None:
    """Back."""
    op.drop_index(_INDEX, "fits")
    op.create_index(
        _INDEX, "fits", ["status", "queue", sa.text("priority DESC"), "created_at", "id"]
    )
    op.drop_table("turns")
