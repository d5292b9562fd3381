"""fits: the dataset that validates one, and looking equal ones up."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_INDEXES = {
    "ix_fits_validation_dataset_id_status": ["validation_dataset_id", "status"],
    "ix_fits_owner_spec_digest": ["owner", "spec_digest"],
}


def upgrade() -> None:
    """Forward."""
    with op.batch_alter_table("fits", schema=None) as batch_op:
        batch_op.add_column(sa.Column("validation_dataset_id", sa.String(40)))
        batch_op.add_column(sa.Column("spec_digest", sa.String(80)))
        batch_op.create_foreign_key(
            "fk_fits_validation_dataset_id", "datasets", ["validation_dataset_id"], ["id"]
        )
        for name, columns in _INDEXES.items():
            batch_op.create_index(name, columns, unique=False)


def downgrade() -> None:
    """Back."""
    with op.batch_alter_table("fits", schema=None) as batch_op:
        for name in _INDEXES:
            batch_op.drop_index(name)
        batch_op.drop_constraint("fk_fits_validation_dataset_id", type_="foreignkey")
        batch_op.drop_column("spec_digest")
        batch_op.drop_column("validation_dataset_id")
