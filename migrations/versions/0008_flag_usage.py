"""Usage of feature flags: hourly counts, last evaluations, names that nobody made."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    op.create_table(
        "feature_flag_evaluations",
        sa.Column("flag", sa.String(255), nullable=False),
        sa.Column("hour", sa.DateTime(timezone=True), nullable=False),
        sa.Column("environment", sa.String(64), nullable=False),
        sa.Column("variant", sa.String(255), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.String(32), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "flag",
            "hour",
            "environment",
            "variant",
            "enabled",
            "reason",
            name=op.f("pk_feature_flag_evaluations"),
        ),
    )
    op.create_index(op.f("ix_feature_flag_evaluations_hour"), "feature_flag_evaluations", ["hour"])
    op.create_table(
        "feature_flag_use",
        sa.Column("flag", sa.String(255), nullable=False),
        sa.Column("first_evaluated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_evaluated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("flag", name=op.f("pk_feature_flag_use")),
    )
    op.create_table(
        "unknown_feature_flags",
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("first_asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_unknown_feature_flags")),
    )
    op.create_index(
        op.f("ix_unknown_feature_flags_last_asked_at"), "unknown_feature_flags", ["last_asked_at"]
    )


def downgrade() -> None:
    """Take this step back."""
    op.drop_table("unknown_feature_flags")
    op.drop_table("feature_flag_use")
    op.drop_table("feature_flag_evaluations")
