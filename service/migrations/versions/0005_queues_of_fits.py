"""fits: their queue, priority and estimate, and what is claimed together."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_COLUMNS = ("queue", "priority", "estimated_seconds", "grouped", "alone")


def upgrade() -> None:
    """Forward."""
    with op.batch_alter_table("fits", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("queue", sa.String(40), nullable=False, server_default="fits.cpu")
        )
        batch_op.add_column(sa.Column("priority", sa.Integer, nullable=False, server_default="0"))
        batch_op.add_column(
            sa.Column("estimated_seconds", sa.Double, nullable=False, server_default="0")
        )
        for name in ("grouped", "alone"):
            batch_op.add_column(
                sa.Column(name, sa.Boolean, nullable=False, server_default=sa.false())
            )
        batch_op.create_index(
            "ix_fits_status_queue", ["status", "queue", "priority", "created_at"], unique=False
        )


def downgrade() -> None:
    """Back."""
    with op.batch_alter_table("fits", schema=None) as batch_op:
        batch_op.drop_index("ix_fits_status_queue")
        for name in _COLUMNS:
            batch_op.drop_column(name)
