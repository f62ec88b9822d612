"""Alerts: rules, alerts with their history, silences, and the rules that it ships with."""

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)
_IS_OPEN = sa.text("state IN ('acknowledged', 'firing', 'pending')")
_IS_TOLD = sa.text("told")

# name, metric, comparison, threshold, window, severity
SHIPPED = (
    ("jobs-failing", "job_failure_rate", "above", 20.0, 3600, "warning"),
    ("jobs-failing-badly", "job_failure_rate", "above", 50.0, 3600, "error"),
    ("breaker-open", "breaker_open", "above", 0.0, 3600, "critical"),
    ("dead-letters", "dead_letters_open", "above", 50.0, 3600, "error"),
    ("dead-letters-many", "dead_letters_open", "above", 100.0, 3600, "critical"),
    ("no-worker", "workers_alive", "below", 1.0, 3600, "critical"),
    ("jobs-waiting", "oldest_queued_seconds", "above", 900.0, 3600, "error"),
    ("flags-stale", "flags_stale", "above", 0.0, 300, "error"),
    ("rollout-rolled-back", "rollout_rolled_back", "above", 0.0, 3600, "error"),
    ("idempotency-replays", "idempotency_replay_rate", "above", 20.0, 3600, "info"),
)


def upgrade() -> None:
    """Apply this step."""
    rules = op.create_table(
        "alert_rules",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("metric", sa.String(32), nullable=False),
        sa.Column("scope", sa.String(255), nullable=False),
        sa.Column("comparison", sa.String(16), nullable=False),
        sa.Column("threshold", sa.Float(), nullable=False),
        sa.Column("window_seconds", sa.Integer(), nullable=False),
        sa.Column("min_sample", sa.Integer(), nullable=False),
        sa.Column("severity", sa.String(16), nullable=False),
        sa.Column("for_seconds", sa.Integer(), nullable=False),
        sa.Column("cooldown_seconds", sa.Integer(), nullable=False),
        sa.Column("channels", sa.JSON(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("created_by", sa.String(255), nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("updated_by", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_alert_rules"),
        sa.UniqueConstraint("name", name="uq_alert_rules_name"),
    )
    _create_alerts()
    _create_around()
    at = datetime.now(UTC)
    for facts in SHIPPED:
        op.execute(rules.insert().values(_rule(*facts, at=at)))


def _rule(*facts: object, at: datetime) -> dict[str, object]:
    name, metric, comparison, threshold, window, severity = facts
    return {
        "name": name,
        "metric": metric,
        "scope": "",
        "comparison": comparison,
        "threshold": threshold,
        "window_seconds": window,
        "min_sample": 5,
        "severity": severity,
        "for_seconds": 0,
        "cooldown_seconds": 1800,
        # Written out, since these steps can be written as SQL too.
        "channels": sa.literal_column("'[]'"),
        "enabled": True,
        "version": 1,
        "created_at": at,
        "created_by": "switchyard",
        "updated_at": at,
        "updated_by": "switchyard",
    }


def _create_alerts() -> None:
    op.create_table(
        "alerts",
        sa.Column("id", BIG, nullable=False),
        sa.Column("key", sa.String(300), nullable=False),
        sa.Column("metric", sa.String(32), nullable=False),
        sa.Column("label", sa.String(255), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("severity", sa.String(16), nullable=False),
        sa.Column("rule", sa.String(64), nullable=False),
        sa.Column("value", sa.Float(), nullable=True),
        sa.Column("comparison", sa.String(16), nullable=False),
        sa.Column("threshold", sa.Float(), nullable=False),
        sa.Column("sample", sa.Integer(), nullable=True),
        sa.Column("holding", sa.JSON(), nullable=False),
        sa.Column("began_at", TIME, nullable=False),
        sa.Column("fired_at", TIME, nullable=True),
        sa.Column("acknowledged_at", TIME, nullable=True),
        sa.Column("acknowledged_by", sa.String(255), nullable=True),
        sa.Column("ended_at", TIME, nullable=True),
        sa.Column("muted", sa.String(16), nullable=True),
        sa.Column("told", sa.Boolean(), nullable=False),
        sa.Column("told_at", TIME, nullable=True),
        sa.Column("told_severity", sa.String(16), nullable=True),
        sa.Column("told_channels", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_alerts"),
    )
    op.create_index(
        "uq_alerts_open",
        "alerts",
        ["key"],
        unique=True,
        sqlite_where=_IS_OPEN,
        postgresql_where=_IS_OPEN,
    )
    op.create_index("ix_alerts_key_id", "alerts", ["key", "id"])
    op.create_index("ix_alerts_state_id", "alerts", ["state", "id"])
    op.create_index("ix_alerts_severity_id", "alerts", ["severity", "id"])
    op.create_index("ix_alerts_ended_at", "alerts", ["ended_at"])
    op.create_index(
        "ix_alerts_told", "alerts", ["id"], sqlite_where=_IS_TOLD, postgresql_where=_IS_TOLD
    )


def _create_around() -> None:
    op.create_table(
        "alert_transitions",
        sa.Column("id", BIG, nullable=False),
        sa.Column("alert_id", BIG, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("event", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("severity", sa.String(16), nullable=False),
        sa.Column("rule", sa.String(64), nullable=False),
        sa.Column("value", sa.Float(), nullable=True),
        sa.Column("comparison", sa.String(16), nullable=False),
        sa.Column("threshold", sa.Float(), nullable=False),
        sa.Column("sample", sa.Integer(), nullable=True),
        sa.Column("telling", sa.String(16), nullable=True),
        sa.Column("channels", sa.JSON(), nullable=False),
        sa.Column("muted", sa.String(16), nullable=True),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("note", sa.String(500), nullable=True),
        sa.ForeignKeyConstraint(
            ["alert_id"], ["alerts.id"], name="fk_alert_transitions_alert_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_alert_transitions"),
    )
    op.create_index("ix_alert_transitions_alert_id_id", "alert_transitions", ["alert_id", "id"])
    op.create_table(
        "alert_silences",
        sa.Column("id", BIG, nullable=False),
        sa.Column("rule", sa.String(64), nullable=False),
        sa.Column("label", sa.String(255), nullable=False),
        sa.Column("reason", sa.String(500), nullable=False),
        sa.Column("ends_at", TIME, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("created_by", sa.String(255), nullable=False),
        sa.Column("ended_by", sa.String(255), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_alert_silences"),
    )
    op.create_index("ix_alert_silences_ends_at", "alert_silences", ["ends_at"])
    op.create_table(
        "alert_reports",
        sa.Column("id", BIG, nullable=False),
        sa.Column("metric", sa.String(32), nullable=False),
        sa.Column("label", sa.String(255), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_alert_reports"),
    )
    op.create_index("ix_alert_reports_at", "alert_reports", ["at"])
    op.create_index("ix_alert_reports_metric_at", "alert_reports", ["metric", "at"])
    op.create_table(
        "alert_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("evaluated_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_alert_head"),
    )


def downgrade() -> None:
    """Take this step back."""
    for name in (
        "alert_head",
        "alert_reports",
        "alert_silences",
        "alert_transitions",
        "alerts",
        "alert_rules",
    ):
        op.drop_table(name)
