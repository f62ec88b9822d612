"""Models of sources, their versions, and what they predict."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)
IS_CHAMPION = sa.text("state = 'champion'")


def upgrade() -> None:
    """Apply this step."""
    op.create_table(
        "models",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("target", sa.String(length=128), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("created_by", sa.String(length=255), nullable=False),
        sa.ForeignKeyConstraint(
            ["source_id"], ["sources.id"], name=op.f("fk_models_source_id_sources")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_models")),
        sa.UniqueConstraint("source_id", "target", name=op.f("uq_models_source_id_target")),
    )
    op.create_table(
        "model_versions",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("model_id", BIG_ID, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("state_at", TIME, nullable=False),
        sa.Column("state_by", sa.String(length=255), nullable=False),
        sa.Column("task", sa.String(length=16), nullable=False),
        sa.Column("algorithm", sa.String(length=32), nullable=False),
        sa.Column("seed", sa.Integer(), nullable=False),
        sa.Column("held_out_share", sa.Float(), nullable=False),
        sa.Column("features", sa.JSON(), nullable=False),
        sa.Column("left_out", sa.JSON(), nullable=False),
        sa.Column("metrics", sa.JSON(), nullable=False),
        sa.Column("comparison", sa.JSON(), nullable=False),
        sa.Column("rows_read", BIG_ID, nullable=False),
        sa.Column("rows_trained", BIG_ID, nullable=False),
        sa.Column("rows_held_out", BIG_ID, nullable=False),
        sa.Column("rows_unlabelled", BIG_ID, nullable=False),
        sa.Column("data_hash", sa.String(length=64), nullable=False),
        sa.Column("file_hash", sa.String(length=64), nullable=False),
        sa.Column("file_size", BIG_ID, nullable=False),
        sa.Column("trained_at", TIME, nullable=False),
        sa.Column("trained_by", sa.String(length=255), nullable=False),
        sa.Column("job_id", BIG_ID, nullable=True),
        sa.ForeignKeyConstraint(
            ["model_id"], ["models.id"], name=op.f("fk_model_versions_model_id_models")
        ),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_model_versions_job_id_jobs"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_versions")),
        sa.UniqueConstraint("job_id", name=op.f("uq_model_versions_job_id")),
        sa.UniqueConstraint("model_id", "number", name=op.f("uq_model_versions_model_id_number")),
    )
    op.create_index("ix_model_versions_model_id_id", "model_versions", ["model_id", "id"])
    op.create_index(
        "uq_model_versions_champion",
        "model_versions",
        ["model_id"],
        unique=True,
        sqlite_where=IS_CHAMPION,
        postgresql_where=IS_CHAMPION,
    )
    op.create_table(
        "prediction_runs",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("model_id", BIG_ID, nullable=False),
        sa.Column("champion_id", BIG_ID, nullable=False),
        sa.Column("challenger_id", BIG_ID, nullable=True),
        sa.Column("job_id", BIG_ID, nullable=True),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("ended_at", TIME, nullable=True),
        sa.Column("processed", BIG_ID, nullable=False),
        sa.Column("written", BIG_ID, nullable=False),
        sa.Column("unchanged", BIG_ID, nullable=False),
        sa.Column("challenged", BIG_ID, nullable=False),
        sa.Column("rejected", BIG_ID, nullable=False),
        sa.Column("rejections", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["model_id"], ["models.id"], name=op.f("fk_prediction_runs_model_id_models")
        ),
        sa.ForeignKeyConstraint(
            ["champion_id"],
            ["model_versions.id"],
            name=op.f("fk_prediction_runs_champion_id_model_versions"),
        ),
        sa.ForeignKeyConstraint(
            ["challenger_id"],
            ["model_versions.id"],
            name=op.f("fk_prediction_runs_challenger_id_model_versions"),
        ),
        sa.ForeignKeyConstraint(
            ["job_id"],
            ["jobs.id"],
            name=op.f("fk_prediction_runs_job_id_jobs"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_prediction_runs")),
        sa.UniqueConstraint("job_id", name=op.f("uq_prediction_runs_job_id")),
    )
    op.create_index("ix_prediction_runs_model_id_id", "prediction_runs", ["model_id", "id"])
    op.create_table(
        "predictions",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("version_id", BIG_ID, nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("content_hash", sa.String(length=64), nullable=False),
        sa.Column("label", sa.String(length=200), nullable=True),
        sa.Column("number", sa.Float(), nullable=True),
        sa.Column("probability", sa.Float(), nullable=True),
        sa.Column("run_id", BIG_ID, nullable=False),
        sa.Column("predicted_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["version_id"],
            ["model_versions.id"],
            name=op.f("fk_predictions_version_id_model_versions"),
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["prediction_runs.id"], name=op.f("fk_predictions_run_id_prediction_runs")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_predictions")),
    )
    op.create_index(
        "uq_predictions_version_id_key", "predictions", ["version_id", "key"], unique=True
    )
    op.create_index("ix_predictions_version_id_id", "predictions", ["version_id", "id"])


def downgrade() -> None:
    """Take this step back."""
    for table in ("predictions", "prediction_runs", "model_versions", "models"):
        op.drop_table(table)
