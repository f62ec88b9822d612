"""The tables of alerts: rules, alerts with their history, silences, and what is reported."""

from datetime import datetime
from typing import Any

from sqlalchemy import Float, ForeignKey, Index, Integer, String, text
from sqlalchemy.orm import Mapped, mapped_column

from webapp.alerts.values import OPEN
from webapp.db import Base, BigId, Json, UtcTime
from webapp.reasons import MAX_REASON

_IS_OPEN = "state IN ({})".format(", ".join(f"'{state}'" for state in sorted(OPEN)))
#: People think that it fires, and are to be told once it does not.
IS_TOLD = "told"


class AlertRule(Base):
    """When an alert fires, how bad that is, and who is told."""

    __tablename__ = "alert_rules"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    metric: Mapped[str] = mapped_column(String(32))
    scope: Mapped[str] = mapped_column(String(255))
    comparison: Mapped[str] = mapped_column(String(16))
    threshold: Mapped[float] = mapped_column(Float)
    window_seconds: Mapped[int]
    min_sample: Mapped[int]
    severity: Mapped[str] = mapped_column(String(16))
    for_seconds: Mapped[int]
    cooldown_seconds: Mapped[int]
    channels: Mapped[list[str]] = mapped_column(Json)
    enabled: Mapped[bool]
    # Rises with each change that somebody makes.
    version: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    created_by: Mapped[str] = mapped_column(String(255))
    updated_at: Mapped[datetime] = mapped_column(UtcTime)
    updated_by: Mapped[str] = mapped_column(String(255))


class Alert(Base):
    """One alert, from when a rule first held to its end; see ``lifecycle``.

    ``key`` is the same each time that it fires.  ``value``, ``threshold`` and ``sample`` are of the
    last evaluation in which a rule held, by the rule that counts.
    """

    __tablename__ = "alerts"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    key: Mapped[str] = mapped_column(String(300))
    metric: Mapped[str] = mapped_column(String(32))
    label: Mapped[str] = mapped_column(String(255))
    state: Mapped[str] = mapped_column(String(16))
    severity: Mapped[str] = mapped_column(String(16))
    rule: Mapped[str] = mapped_column(String(64))
    value: Mapped[float | None] = mapped_column(Float)
    comparison: Mapped[str] = mapped_column(String(16))
    threshold: Mapped[float] = mapped_column(Float)
    sample: Mapped[int | None]
    # Since when each rule holds, by name.
    holding: Mapped[dict[str, str]] = mapped_column(Json)
    began_at: Mapped[datetime] = mapped_column(UtcTime)
    fired_at: Mapped[datetime | None] = mapped_column(UtcTime)
    acknowledged_at: Mapped[datetime | None] = mapped_column(UtcTime)
    acknowledged_by: Mapped[str | None] = mapped_column(String(255))
    ended_at: Mapped[datetime | None] = mapped_column(UtcTime)
    # Why nobody is told, None where people are.
    muted: Mapped[str | None] = mapped_column(String(16))
    told: Mapped[bool]
    told_at: Mapped[datetime | None] = mapped_column(UtcTime)
    told_severity: Mapped[str | None] = mapped_column(String(16))
    told_channels: Mapped[list[str]] = mapped_column(Json)

    __table_args__ = (
        # At most one open alert of a key.
        Index(
            "uq_alerts_open",
            "key",
            unique=True,
            sqlite_where=text(_IS_OPEN),
            postgresql_where=text(_IS_OPEN),
        ),
        Index("ix_alerts_key_id", "key", "id"),
        Index("ix_alerts_state_id", "state", "id"),
        Index("ix_alerts_severity_id", "severity", "id"),
        Index("ix_alerts_ended_at", "ended_at"),
        Index(
            "ix_alerts_told",
            "id",
            sqlite_where=text(IS_TOLD),
            postgresql_where=text(IS_TOLD),
        ),
    )


class AlertTransition(Base):
    """What happened to an alert, with the figures that caused it.

    ``telling`` is what ``channels`` were told then, ``muted`` why they were not.
    """

    __tablename__ = "alert_transitions"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    alert_id: Mapped[int] = mapped_column(BigId, ForeignKey("alerts.id", ondelete="CASCADE"))
    at: Mapped[datetime] = mapped_column(UtcTime)
    event: Mapped[str] = mapped_column(String(16))
    state: Mapped[str] = mapped_column(String(16))
    severity: Mapped[str] = mapped_column(String(16))
    rule: Mapped[str] = mapped_column(String(64))
    value: Mapped[float | None] = mapped_column(Float)
    comparison: Mapped[str] = mapped_column(String(16))
    threshold: Mapped[float] = mapped_column(Float)
    sample: Mapped[int | None]
    telling: Mapped[str | None] = mapped_column(String(16))
    channels: Mapped[list[str]] = mapped_column(Json)
    muted: Mapped[str | None] = mapped_column(String(16))
    actor: Mapped[str] = mapped_column(String(255))
    note: Mapped[str | None] = mapped_column(String(MAX_REASON))

    __table_args__ = (Index("ix_alert_transitions_alert_id_id", "alert_id", "id"),)


class AlertSilence(Base):
    """Alerts of a rule, of a label or of both that nobody is told of until then."""

    __tablename__ = "alert_silences"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    # Empty stands for every rule, or for every label.
    rule: Mapped[str] = mapped_column(String(64))
    label: Mapped[str] = mapped_column(String(255))
    reason: Mapped[str] = mapped_column(String(MAX_REASON))
    # Brought forward where somebody ends it.
    ends_at: Mapped[datetime] = mapped_column(UtcTime, index=True)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    created_by: Mapped[str] = mapped_column(String(255))
    ended_by: Mapped[str | None] = mapped_column(String(255))


class AlertReport(Base):
    """Something that another part of the program told as it happened."""

    __tablename__ = "alert_reports"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    metric: Mapped[str] = mapped_column(String(32))
    label: Mapped[str] = mapped_column(String(255))
    at: Mapped[datetime] = mapped_column(UtcTime, index=True)
    facts: Mapped[dict[str, Any]] = mapped_column(Json)

    __table_args__ = (Index("ix_alert_reports_metric_at", "metric", "at"),)


class AlertHead(Base):
    """One row: the minute that was evaluated last, which nobody evaluates again."""

    __tablename__ = "alert_head"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    evaluated_at: Mapped[datetime] = mapped_column(UtcTime)
