"""Jobs: expiry, dependencies, batches, callbacks, log lines, pauses, settings and figures."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

# SQLite numbers rows by itself only in a column of exactly this type.
BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)
IS_HELD = sa.text("held")
MAY_EXPIRE = sa.text("expires_at IS NOT NULL AND state IN ('queued', 'retrying', 'scheduled')")
IN_BATCH = sa.text("batch_id IS NOT NULL")
IS_TO_TELL = sa.text("callback_url IS NOT NULL AND callback_job_id IS NULL")
COUNTS = ("runs", "succeeded", "failed", "retried", "dead", "deferred", "lost", "canceled")


def upgrade() -> None:
    """Apply this step."""
    _widen_jobs()
    _widen_workers()
    op.create_table(
        "job_dependencies",
        sa.Column("job_id", BIG, nullable=False),
        sa.Column("depends_on_id", BIG, nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"],
            ["jobs.id"],
            name=op.f("fk_job_dependencies_job_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["depends_on_id"],
            ["jobs.id"],
            name=op.f("fk_job_dependencies_depends_on_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("job_id", "depends_on_id", name=op.f("pk_job_dependencies")),
    )
    op.create_index(
        op.f("ix_job_dependencies_depends_on_id"), "job_dependencies", ["depends_on_id"]
    )
    op.create_table(
        "job_batches",
        sa.Column("id", BIG, nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("created_by", sa.String(255), nullable=False),
        sa.Column("then_type", sa.String(100), nullable=True),
        sa.Column("then_arguments", sa.JSON(), nullable=True),
        sa.Column("then_job_id", BIG, nullable=True),
        sa.Column("finished_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job_batches")),
    )
    op.create_index(op.f("ix_job_batches_finished_at"), "job_batches", ["finished_at"])
    op.create_table(
        "job_log_lines",
        sa.Column("id", BIG, nullable=False),
        sa.Column("job_id", BIG, nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("level", sa.String(16), nullable=False),
        sa.Column("event", sa.String(255), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_job_log_lines_job_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job_log_lines")),
    )
    op.create_index("ix_job_log_lines_job", "job_log_lines", ["job_id", "id"])
    _create_settings()
    op.create_table(
        "job_metrics",
        sa.Column("type", sa.String(100), nullable=False),
        sa.Column("seconds", sa.Integer(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in COUNTS),
        sa.Column("run_buckets", sa.JSON(), nullable=False),
        sa.Column("wait_buckets", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("type", "seconds", "at", name=op.f("pk_job_metrics")),
    )
    op.create_index("ix_job_metrics_at", "job_metrics", ["seconds", "at"])


def _widen_jobs() -> None:
    op.add_column("jobs", sa.Column("expires_at", TIME, nullable=True))
    op.add_column(
        "jobs", sa.Column("held", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    op.add_column("jobs", sa.Column("batch_id", BIG, nullable=True))
    op.add_column("jobs", sa.Column("callback_url", sa.String(2000), nullable=True))
    op.add_column("jobs", sa.Column("callback_job_id", BIG, nullable=True))
    for name, columns, where in (
        ("ix_jobs_held", ["id"], IS_HELD),
        ("ix_jobs_expires", ["expires_at"], MAY_EXPIRE),
        ("ix_jobs_batch", ["batch_id", "state"], IN_BATCH),
        ("ix_jobs_callback", ["finished_at"], IS_TO_TELL),
    ):
        op.create_index(name, "jobs", columns, sqlite_where=where, postgresql_where=where)
    op.add_column("job_attempts", sa.Column("due_at", TIME, nullable=True))
    op.add_column("job_attempts", sa.Column("flags_seen", sa.JSON(), nullable=True))


def _widen_workers() -> None:
    op.add_column("workers", sa.Column("queues", sa.JSON(), nullable=False, server_default="[]"))
    for name in ("done", "failed"):
        op.add_column("workers", sa.Column(name, sa.Integer(), nullable=False, server_default="0"))
    op.add_column("workers", sa.Column("memory_bytes", BIG, nullable=True))
    op.add_column("workers", sa.Column("stop_requested_at", TIME, nullable=True))
    op.add_column("workers", sa.Column("stop_requested_by", sa.String(255), nullable=True))


def _create_settings() -> None:
    op.create_table(
        "job_queues",
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("paused_at", TIME, nullable=True),
        sa.Column("paused_by", sa.String(255), nullable=True),
        sa.Column("reason", sa.String(500), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_job_queues")),
    )
    op.create_table(
        "job_type_settings",
        sa.Column("type", sa.String(100), nullable=False),
        sa.Column("paused_at", TIME, nullable=True),
        sa.Column("paused_by", sa.String(255), nullable=True),
        sa.Column("reason", sa.String(500), nullable=True),
        sa.Column("max_retries", sa.Integer(), nullable=True),
        sa.Column("initial_delay", sa.Float(), nullable=True),
        sa.Column("backoff_factor", sa.Float(), nullable=True),
        sa.Column("max_delay", sa.Float(), nullable=True),
        sa.Column("jitter", sa.Float(), nullable=True),
        sa.Column("timeout", sa.Float(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("updated_by", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("type", name=op.f("pk_job_type_settings")),
    )


def downgrade() -> None:
    """Take this step back."""
    for table in (
        "job_metrics",
        "job_type_settings",
        "job_queues",
        "job_log_lines",
        "job_batches",
        "job_dependencies",
    ):
        op.drop_table(table)
    for name in ("ix_jobs_callback", "ix_jobs_batch", "ix_jobs_expires", "ix_jobs_held"):
        op.drop_index(name, table_name="jobs")
    # Not by batch_alter_table: what refers to jobs would keep SQLite from building them anew.
    for table, names in (
        (
            "workers",
            ("queues", "done", "failed", "memory_bytes", "stop_requested_at", "stop_requested_by"),
        ),
        ("job_attempts", ("flags_seen", "due_at")),
        ("jobs", ("callback_job_id", "callback_url", "batch_id", "held", "expires_at")),
    ):
        for name in names:
            op.drop_column(table, name)
