"""Sources: sources, runs, records and rejected rows."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# SQLite numbers rows by itself only in a column of exactly this type.
BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Apply this step."""
    op.create_table(
        "sources",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("location", sa.String(1000), nullable=False),
        sa.Column("key_field", sa.String(255), nullable=False),
        sa.Column("record_count", BIG, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sources")),
        sa.UniqueConstraint("name", name=op.f("uq_sources_name")),
    )
    op.create_table(
        "etl_runs",
        sa.Column("id", BIG, nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("job_id", BIG, nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("processed", BIG, nullable=False),
        sa.Column("inserted", BIG, nullable=False),
        sa.Column("updated", BIG, nullable=False),
        sa.Column("unchanged", BIG, nullable=False),
        sa.Column("rejected", BIG, nullable=False),
        sa.Column("checkpoint", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["source_id"], ["sources.id"], name=op.f("fk_etl_runs_source_id")),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_etl_runs_job_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_etl_runs")),
        sa.UniqueConstraint("job_id", name=op.f("uq_etl_runs_job_id")),
    )
    op.create_index(op.f("ix_etl_runs_started_at"), "etl_runs", ["started_at"])
    op.create_index("ix_etl_runs_source_id_id", "etl_runs", ["source_id", "id"])
    op.create_table(
        "records",
        sa.Column("id", BIG, nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("content_hash", sa.String(32), nullable=False),
        sa.Column("raw", sa.JSON(), nullable=False),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("run_id", BIG, nullable=False),
        sa.ForeignKeyConstraint(["source_id"], ["sources.id"], name=op.f("fk_records_source_id")),
        sa.ForeignKeyConstraint(["run_id"], ["etl_runs.id"], name=op.f("fk_records_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_records")),
    )
    op.create_index("uq_records_source_id_key", "records", ["source_id", "key"], unique=True)
    op.create_table(
        "rejected_records",
        sa.Column("id", BIG, nullable=False),
        sa.Column("run_id", BIG, nullable=False),
        sa.Column("line", BIG, nullable=False),
        sa.Column("error", sa.String(500), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["etl_runs.id"], name=op.f("fk_rejected_records_run_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rejected_records")),
    )
    op.create_index(op.f("ix_rejected_records_run_id"), "rejected_records", ["run_id"])


def downgrade() -> None:
    """Take this step back."""
    op.drop_table("rejected_records")
    op.drop_table("records")
    op.drop_table("etl_runs")
    op.drop_table("sources")
