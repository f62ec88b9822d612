"""Audit: all entries of one kind of thing, newest first, from an index."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    op.create_index(op.f("ix_audit_entries_subject_id"), "audit_entries", ["subject", "id"])


def downgrade() -> None:
    """Take this step back."""
    op.drop_index(op.f("ix_audit_entries_subject_id"), table_name="audit_entries")
