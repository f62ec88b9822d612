"""Rate limits: how often sources may be called, pauses, and what processes have used."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Apply this step."""
    op.add_column("sources", sa.Column("rate_limit", sa.Integer(), nullable=True))
    op.add_column("sources", sa.Column("rate_window", sa.Integer(), nullable=True))
    op.create_table(
        "rate_limits",
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("paused_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("pause_reason", sa.String(length=500), nullable=True),
        sa.Column("allowed", BIG_ID, nullable=False),
        sa.Column("waited", BIG_ID, nullable=False),
        sa.Column("refused", BIG_ID, nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_rate_limits")),
    )
    op.create_table(
        "rate_limit_shares",
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("process", sa.String(length=100), nullable=False),
        sa.Column("used", sa.Integer(), nullable=False),
        sa.Column("reset", sa.Float(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", "process", name=op.f("pk_rate_limit_shares")),
    )
    op.create_index(op.f("ix_rate_limit_shares_at"), "rate_limit_shares", ["at"])


def downgrade() -> None:
    """Take this step back."""
    op.drop_index(op.f("ix_rate_limit_shares_at"), table_name="rate_limit_shares")
    op.drop_table("rate_limit_shares")
    op.drop_table("rate_limits")
    op.drop_column("sources", "rate_window")
    op.drop_column("sources", "rate_limit")
