"""Targeting of feature flags: rules, segments, variants, prerequisites, groups; subjects seen."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

LISTS = ("rules", "variants", "prerequisites")


def shared_columns() -> list[sa.Column[object]]:
    return [
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(255), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_by", sa.String(255), nullable=False),
    ]


def upgrade() -> None:
    """Apply this step."""
    op.create_table(
        "feature_flag_groups",
        *shared_columns(),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_feature_flag_groups")),
    )
    op.create_table(
        "feature_flag_segments",
        *shared_columns(),
        sa.Column("conditions", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_feature_flag_segments")),
    )
    op.create_table(
        "feature_flag_subjects",
        sa.Column("flag", sa.String(255), nullable=False),
        sa.Column("hour", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sample", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("flag", "hour", name=op.f("pk_feature_flag_subjects")),
    )
    # The default is for the rows there are; whoever writes a flag names its lists.
    for name in LISTS:
        column = sa.Column(name, sa.JSON(), nullable=False, server_default="[]")
        op.add_column("feature_flags", column)
    op.add_column("feature_flags", sa.Column("group_name", sa.String(64), nullable=True))
    op.create_index(op.f("ix_feature_flags_group_name"), "feature_flags", ["group_name"])


def downgrade() -> None:
    """Take this step back."""
    op.drop_index(op.f("ix_feature_flags_group_name"), table_name="feature_flags")
    with op.batch_alter_table("feature_flags") as batch:
        batch.drop_column("group_name")
        for name in LISTS:
            batch.drop_column(name)
    op.drop_table("feature_flag_subjects")
    op.drop_table("feature_flag_segments")
    op.drop_table("feature_flag_groups")
