"""Schema drift: the fields that a source had last, their renames, and what changed."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)
_IS_HELD = sa.text("state = 'held'")


def upgrade() -> None:
    """Apply this step."""
    # With defaults for the rows that stand: SQLite takes no other, and cannot drop them later.
    empty = sa.text("'{}'")
    op.add_column("sources", sa.Column("renames", sa.JSON(), nullable=False, server_default=empty))
    op.add_column("sources", sa.Column("schema", sa.JSON(), nullable=True))
    op.add_column("etl_runs", sa.Column("drift", sa.JSON(), nullable=False, server_default=empty))
    op.add_column("etl_runs", sa.Column("profile", sa.JSON(), nullable=True))
    op.create_table(
        "schema_drifts",
        sa.Column("id", BIG, nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("run_id", BIG, nullable=True),
        sa.Column("found_at", TIME, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("field", sa.Text(), nullable=False),
        sa.Column("new_field", sa.Text(), nullable=True),
        sa.Column("from_type", sa.String(16), nullable=True),
        sa.Column("to_type", sa.String(16), nullable=True),
        sa.Column("confidence", sa.Float(), nullable=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("decided_at", TIME, nullable=True),
        sa.Column("decided_by", sa.String(255), nullable=True),
        sa.Column("reason", sa.String(500), nullable=True),
        sa.ForeignKeyConstraint(["source_id"], ["sources.id"], name="fk_schema_drifts_source_id"),
        sa.ForeignKeyConstraint(
            ["run_id"], ["etl_runs.id"], name="fk_schema_drifts_run_id", ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_schema_drifts"),
    )
    op.create_index("ix_schema_drifts_source_id_id", "schema_drifts", ["source_id", "id"])
    op.create_index("ix_schema_drifts_run_id", "schema_drifts", ["run_id"])
    op.create_index(
        "ix_schema_drifts_held",
        "schema_drifts",
        ["source_id"],
        sqlite_where=_IS_HELD,
        postgresql_where=_IS_HELD,
    )


def downgrade() -> None:
    """Take this step back."""
    op.drop_table("schema_drifts")
    for name in ("profile", "drift"):
        op.drop_column("etl_runs", name)
    for name in ("schema", "renames"):
        op.drop_column("sources", name)
