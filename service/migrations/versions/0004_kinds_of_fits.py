"""fits: their kind, so that range tests have the same life."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward."""
    with op.batch_alter_table("fits", schema=None) as batch_op:
        batch_op.add_column(sa.Column("kind", sa.String(20), nullable=False, server_default="fit"))
        batch_op.drop_index("ix_fits_owner_id")
        batch_op.create_index("ix_fits_owner_kind_id", ["owner", "kind", "id"], unique=False)


def downgrade() -> None:
    """Back; what is no fit is lost, for an older version would take it for one."""
    op.execute("DELETE FROM artifacts WHERE fit_id IN (SELECT id FROM fits WHERE kind <> 'fit')")
    op.execute("DELETE FROM fits WHERE kind <> 'fit'")
    with op.batch_alter_table("fits", schema=None) as batch_op:
        batch_op.drop_index("ix_fits_owner_kind_id")
        batch_op.create_index("ix_fits_owner_id", ["owner", "id"], unique=False)
        batch_op.drop_column("kind")
