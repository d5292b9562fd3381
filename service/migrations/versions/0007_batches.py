"""Batches: many fits of one call, each with its place in it and the number to choose by."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_INDEXES = {
    "ix_fits_batch_id_id": ["batch_id", "id"],
    "ix_fits_batch_id_status_score": ["batch_id", "status", "score", "id"],
}


def upgrade() -> None:
    """Forward."""
    op.create_table(
        "batches",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("owner", sa.String(100), nullable=False),
        sa.Column("name", sa.String(200)),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("finished_at", sa.Double),
        sa.Column("counts", sa.JSON),
        sa.Column("expires_at", sa.Double),
        sa.Column("deleted_at", sa.Double),
        sa.Column("cancelled_at", sa.Double),
        sa.Column("n_fits", sa.Integer, nullable=False),
        sa.Column("varied", sa.JSON, nullable=False),
        sa.Column("metric", sa.String(100), nullable=False),
        sa.Column("mode", sa.String(10), nullable=False),
        sa.Column("tags", sa.JSON, nullable=False),
        sa.Column("metadata", sa.JSON, nullable=False),
    )
    op.create_index("ix_batches_owner_id", "batches", ["owner", "id"])
    op.create_index("ix_batches_finished_at", "batches", ["finished_at"])
    with op.batch_alter_table("fits", schema=None) as batch_op:
        batch_op.add_column(sa.Column("batch_id", sa.String(40)))
        batch_op.add_column(sa.Column("position", sa.Integer))
        batch_op.add_column(sa.Column("score", sa.Double))
        batch_op.create_foreign_key("fk_fits_batch_id", "batches", ["batch_id"], ["id"])
    op.drop_index("ix_fits_status_queue", "fits")
    op.create_index(
        "ix_fits_status_queue",
        "fits",
        ["status", "queue", sa.text("priority DESC"), "created_at", "id"],
    )
    in_a_batch = sa.text("batch_id IS NOT NULL")
    for name, columns in _INDEXES.items():
        op.create_index(name, "fits", columns, sqlite_where=in_a_batch, postgresql_where=in_a_batch)


def downgrade() -> None:
    """Back; the fits of batches stay as fits of their own."""
    for name in _INDEXES:
        op.drop_index(name, "fits")
    op.drop_index("ix_fits_status_queue", "fits")
    op.create_index("ix_fits_status_queue", "fits", ["status", "queue", "priority", "created_at"])
    with op.batch_alter_table("fits", schema=None) as batch_op:
        batch_op.drop_constraint("fk_fits_batch_id", type_="foreignkey")
        for name in ("batch_id", "position", "score"):
            batch_op.drop_column(name)
    op.drop_index("ix_batches_finished_at", "batches")
    op.drop_index("ix_batches_owner_id", "batches")
    op.drop_table("batches")
