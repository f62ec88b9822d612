"""Sources over HTTP: how they are called, field mappings, versions; records outlive runs."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def records_table() -> sa.Table:
    """Return the table as it is before this step: SQLite builds a table anew to lose a key."""
    return sa.Table(
        "records",
        sa.MetaData(),
        sa.Column("id", BIG, nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("content_hash", sa.String(32), nullable=False),
        sa.Column("raw", sa.JSON(), nullable=False),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("run_id", BIG, nullable=False),
        sa.ForeignKeyConstraint(["source_id"], ["sources.id"], name="fk_records_source_id"),
        sa.ForeignKeyConstraint(["run_id"], ["etl_runs.id"], name="fk_records_run_id"),
        sa.PrimaryKeyConstraint("id", name="pk_records"),
        sa.Index("uq_records_source_id_key", "source_id", "key", unique=True),
    )


def upgrade() -> None:
    """Apply this step."""
    # With defaults for the rows that stand: SQLite takes no other, and cannot drop them later.
    empty = sa.text("'{}'")
    op.add_column("sources", sa.Column("options", sa.JSON(), nullable=False, server_default=empty))
    op.add_column("sources", sa.Column("mapping", sa.JSON(), nullable=False, server_default=empty))
    op.add_column("sources", sa.Column("validators", sa.JSON(), nullable=True))
    first = sa.text("1")
    op.add_column(
        "sources", sa.Column("version", sa.Integer(), nullable=False, server_default=first)
    )
    with op.batch_alter_table("records", copy_from=records_table()) as batch:
        batch.add_column(sa.Column("mapped", sa.JSON(), nullable=True))
        batch.drop_constraint("fk_records_run_id", type_="foreignkey")


def downgrade() -> None:
    """Take this step back."""
    before = records_table()
    before.append_column(sa.Column("mapped", sa.JSON(), nullable=True))
    before.constraints -= {key for key in before.constraints if key.name == "fk_records_run_id"}
    with op.batch_alter_table("records", copy_from=before) as batch:
        batch.create_foreign_key("fk_records_run_id", "etl_runs", ["run_id"], ["id"])
        batch.drop_column("mapped")
    for name in ("version", "validators", "mapping", "options"):
        op.drop_column("sources", name)
