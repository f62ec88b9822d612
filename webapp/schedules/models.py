"""The tables of schedules: what is to run when, and what became of each due time."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from webapp.db import Base, BigId, Json, UtcTime


class Schedule(Base):
    """A type of job with its arguments, and when it comes due."""

    __tablename__ = "schedules"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    type: Mapped[str] = mapped_column(String(100))
    arguments: Mapped[dict[str, Any]] = mapped_column(Json)
    cron: Mapped[str] = mapped_column(String(100))
    timezone: Mapped[str] = mapped_column(String(64))
    overlap: Mapped[str] = mapped_column(String(16))
    catch_up: Mapped[str] = mapped_column(String(16))
    # None for that of the job's type.
    priority: Mapped[int | None]
    enabled: Mapped[bool]
    last_run_at: Mapped[datetime | None] = mapped_column(UtcTime)
    # None while it is paused, so that one index tells a beat what is due.
    next_run_at: Mapped[datetime | None] = mapped_column(UtcTime, index=True)
    # Rises with each change that somebody makes; a firing is none.
    version: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    created_by: Mapped[str] = mapped_column(String(255))
    updated_at: Mapped[datetime] = mapped_column(UtcTime)
    updated_by: Mapped[str] = mapped_column(String(255))


class ScheduleFiring(Base):
    """What became of one due time: inserted once, whoever is first.

    ``passed`` counts the due times before it that were missed.  ``planned`` is False where
    somebody ran the schedule by hand; its due time is then that moment.
    """

    __tablename__ = "schedule_firings"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    schedule_id: Mapped[int] = mapped_column(ForeignKey("schedules.id", ondelete="CASCADE"))
    due_at: Mapped[datetime] = mapped_column(UtcTime)
    fired_at: Mapped[datetime] = mapped_column(UtcTime, index=True)
    outcome: Mapped[str] = mapped_column(String(16))
    planned: Mapped[bool]
    passed: Mapped[int]
    job_id: Mapped[int | None] = mapped_column(
        BigId, ForeignKey("jobs.id", ondelete="SET NULL"), index=True
    )
    note: Mapped[str | None] = mapped_column(String(500))

    __table_args__ = (
        Index("uq_schedule_firings_due", "schedule_id", "due_at", unique=True),
        Index("ix_schedule_firings_schedule_id_id", "schedule_id", "id"),
    )
