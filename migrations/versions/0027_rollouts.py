"""Rollouts of flags: plans, guards and what these have seen, errors that programs report."""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
# The defaults are for the rows there are; whoever writes a flag names these.
WITH_DEFAULTS = (
    ("rollout_plan", sa.JSON(), "[]"),
    ("guards", sa.JSON(), "[]"),
    ("rollout_state", sa.String(16), "none"),
)
OTHERS = (
    ("rollout_next_at", TIME),
    ("rollout_since", TIME),
    ("rollout_by", sa.String(255)),
    ("rollout_reason", sa.String(500)),
)


def upgrade() -> None:
    """Apply this step."""
    for name, kind, default in WITH_DEFAULTS:
        column = sa.Column(name, kind, nullable=False, server_default=default)
        op.add_column("feature_flags", column)
    for name, kind in OTHERS:
        op.add_column("feature_flags", sa.Column(name, kind, nullable=True))
    op.create_index("ix_feature_flags_rollout_next_at", "feature_flags", ["rollout_next_at"])
    op.create_table(
        "feature_flag_guards",
        sa.Column("flag", sa.String(255), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("definition", sa.JSON(), nullable=False),
        sa.Column("since", TIME, nullable=True),
        sa.Column("read_until", TIME, nullable=True),
        sa.Column("memory", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("figures", sa.JSON(), nullable=False),
        sa.Column("checked_at", TIME, nullable=True),
        sa.Column("tripped_at", TIME, nullable=True),
        sa.Column("trip", sa.JSON(), nullable=True),
        sa.PrimaryKeyConstraint("flag", "name", name="pk_feature_flag_guards"),
    )
    op.create_table(
        "feature_flag_guard_head",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("checked_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_feature_flag_guard_head"),
    )
    op.create_table(
        "feature_flag_errors",
        sa.Column("flag", sa.String(255), nullable=False),
        sa.Column("minute", TIME, nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("flag", "minute", name="pk_feature_flag_errors"),
    )
    op.create_index("ix_feature_flag_errors_minute", "feature_flag_errors", ["minute"])


def downgrade() -> None:
    """Take this step back."""
    op.drop_table("feature_flag_errors")
    op.drop_table("feature_flag_guard_head")
    op.drop_table("feature_flag_guards")
    op.drop_index("ix_feature_flags_rollout_next_at", table_name="feature_flags")
    with op.batch_alter_table("feature_flags") as batch:
        for name, _ in reversed(OTHERS):
            batch.drop_column(name)
        for name, _, _ in reversed(WITH_DEFAULTS):
            batch.drop_column(name)
