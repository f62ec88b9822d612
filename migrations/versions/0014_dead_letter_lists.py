"""Dead letters: groups, counts and narrowed lists from indexes."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

TABLE = "dead_letter_jobs"
IS_RESOLVED = sa.text("resolved_at IS NOT NULL")


def upgrade() -> None:
    """Apply this step."""
    op.drop_index("ix_dead_letter_jobs_open", table_name=TABLE)
    op.drop_index("ix_dead_letter_jobs_fingerprint", table_name=TABLE)
    op.create_index(
        "ix_dead_letter_jobs_open",
        TABLE,
        ["resolved_at", "id", "failed_at", "fingerprint", "type", "exception_type", "reason"],
    )
    op.create_index(
        "ix_dead_letter_jobs_resolved",
        TABLE,
        ["id"],
        sqlite_where=IS_RESOLVED,
        postgresql_where=IS_RESOLVED,
    )
    for column in ("type", "exception_type", "fingerprint"):
        op.create_index(f"ix_dead_letter_jobs_{column}", TABLE, [column, "id", "resolved_at"])


def downgrade() -> None:
    """Take this step back."""
    for column in ("type", "exception_type", "fingerprint"):
        op.drop_index(f"ix_dead_letter_jobs_{column}", table_name=TABLE)
    op.drop_index("ix_dead_letter_jobs_resolved", table_name=TABLE)
    op.drop_index("ix_dead_letter_jobs_open", table_name=TABLE)
    op.create_index("ix_dead_letter_jobs_fingerprint", TABLE, ["fingerprint", "resolved_at"])
    op.create_index("ix_dead_letter_jobs_open", TABLE, ["resolved_at", "id"])
