"""Jobs: what their lists are narrowed to, from an index.  Workers: which have a scheduler."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_INDEXES = {
    "ix_jobs_type_state": ["type", "state", "id"],
    "ix_jobs_queue": ["queue", "id"],
    "ix_jobs_created_at": ["created_at"],
}


def upgrade() -> None:
    """Apply this step."""
    for name, columns in _INDEXES.items():
        op.create_index(name, "jobs", columns)
    # Workers that run have one, for all that is known; they say so with their next start.
    scheduler = sa.Column("scheduler", sa.Boolean(), nullable=False, server_default=sa.true())
    op.add_column("workers", scheduler)


def downgrade() -> None:
    """Take this step back."""
    op.drop_column("workers", "scheduler")
    for name in _INDEXES:
        op.drop_index(name, table_name="jobs")
