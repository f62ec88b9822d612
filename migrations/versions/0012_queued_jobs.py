"""Jobs: the queued ones, the most urgent first, from an index."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_IS_QUEUED = sa.text("state = 'queued'")


def upgrade() -> None:
    """Apply this step."""
    op.create_index(
        "ix_jobs_queued",
        "jobs",
        ["queue", "priority", "run_at", "id"],
        sqlite_where=_IS_QUEUED,
        postgresql_where=_IS_QUEUED,
    )


def downgrade() -> None:
    """Take this step back."""
    op.drop_index("ix_jobs_queued", table_name="jobs")
