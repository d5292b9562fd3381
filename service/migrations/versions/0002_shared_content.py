"""datasets: n_dropped, and looking content up."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward."""
    with op.batch_alter_table("datasets", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("n_dropped", sa.BigInteger(), nullable=False, server_default="0")
        )
        batch_op.create_index("ix_datasets_owner_digest", ["owner", "digest"], unique=False)
        batch_op.create_index("ix_datasets_storage_key", ["storage_key"], unique=False)


def downgrade() -> None:
    """Back."""
    with op.batch_alter_table("datasets", schema=None) as batch_op:
        batch_op.drop_index("ix_datasets_storage_key")
        batch_op.drop_index("ix_datasets_owner_digest")
        batch_op.drop_column("n_dropped")
