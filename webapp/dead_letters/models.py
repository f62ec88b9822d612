"""The table of dead letters: at most one for a job, opened again when it dies again."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from webapp.db import Base, BigId, Json, UtcTime

_IS_RESOLVED = "resolved_at IS NOT NULL"


class DeadLetter(Base):
    """A job that was given up, and why."""

    __tablename__ = "dead_letter_jobs"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    job_id: Mapped[int] = mapped_column(BigId, ForeignKey("jobs.id"), unique=True)
    type: Mapped[str] = mapped_column(String(100))
    arguments: Mapped[dict[str, Any]] = mapped_column(Json)
    reason: Mapped[str] = mapped_column(String(32))
    error_class: Mapped[str] = mapped_column(String(32))
    exception_type: Mapped[str] = mapped_column(String(255))
    message: Mapped[str] = mapped_column(Text)
    traceback: Mapped[str] = mapped_column(Text)
    fingerprint: Mapped[str] = mapped_column(String(16))
    retry_count: Mapped[int]
    failed_at: Mapped[datetime] = mapped_column(UtcTime)
    resolved_at: Mapped[datetime | None] = mapped_column(UtcTime)
    resolved_by: Mapped[str | None] = mapped_column(String(255))
    resolution: Mapped[str | None] = mapped_column(String(32))
    notes: Mapped[str | None] = mapped_column(Text)

    __table_args__ = (
        # The open ones, newest first, with all that groups and counts are made of: the rows
        # themselves, with their tracebacks, are not read for those.
        Index(
            "ix_dead_letter_jobs_open",
            "resolved_at",
            "id",
            "failed_at",
            "fingerprint",
            "type",
            "exception_type",
            "reason",
        ),
        Index(
            "ix_dead_letter_jobs_resolved",
            "id",
            sqlite_where=text(_IS_RESOLVED),
            postgresql_where=text(_IS_RESOLVED),
        ),
        Index("ix_dead_letter_jobs_type", "type", "id", "resolved_at"),
        Index("ix_dead_letter_jobs_exception_type", "exception_type", "id", "resolved_at"),
        Index("ix_dead_letter_jobs_fingerprint", "fingerprint", "id", "resolved_at"),
    )
