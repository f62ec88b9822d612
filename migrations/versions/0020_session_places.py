"""Sessions: where each was begun, by which browser, and when it was last used."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    op.add_column("user_sessions", sa.Column("address", sa.String(length=64), nullable=True))
    op.add_column("user_sessions", sa.Column("user_agent", sa.String(length=200), nullable=True))
    op.add_column(
        "user_sessions", sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True)
    )


def downgrade() -> None:
    """Take this step back."""
    op.drop_column("user_sessions", "last_used_at")
    op.drop_column("user_sessions", "user_agent")
    op.drop_column("user_sessions", "address")
