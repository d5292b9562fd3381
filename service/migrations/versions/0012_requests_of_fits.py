"""fits.request_id: a worker's log names the request that made the fit."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward."""
    op.add_column("fits", sa.Column("request_id", sa.String(128)))


def downgrade() -> None:
    """Back."""
    op.drop_column("fits", "request_id")
