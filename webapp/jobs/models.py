"""The ledger's tables: jobs and their attempts."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from webapp.db import Base, BigId, Json, UtcTime
from webapp.jobs.lifecycle import ACTIVE
from webapp.jobs.values import JobState

_IS_ACTIVE = "state IN ({})".format(", ".join(f"'{state}'" for state in sorted(ACTIVE)))
_IS_QUEUED = f"state = '{JobState.QUEUED}'"


class Job(Base):
    """One thing to be done; see ``lifecycle`` for what may happen to it."""

    __tablename__ = "jobs"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    type: Mapped[str] = mapped_column(String(100))
    queue: Mapped[str] = mapped_column(String(100))
    priority: Mapped[int]
    state: Mapped[str] = mapped_column(String(16))
    arguments: Mapped[dict[str, Any]] = mapped_column(Json)
    unique_key: Mapped[str | None] = mapped_column(String(255))
    run_at: Mapped[datetime] = mapped_column(UtcTime)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    created_by: Mapped[str] = mapped_column(String(255))
    request_id: Mapped[str | None] = mapped_column(String(128))
    # When a message for this job was last put on the queue; None where there is none to be had.
    dispatched_at: Mapped[datetime | None] = mapped_column(UtcTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcTime)
    # Attempts that count against the policy; lost, released and deferred ones do not.
    attempts: Mapped[int] = mapped_column(default=0)
    losses: Mapped[int] = mapped_column(default=0)
    deferrals: Mapped[int] = mapped_column(default=0)
    # Rises with each claim: whoever shows an older one no longer holds the job.
    fence: Mapped[int] = mapped_column(default=0)
    worker: Mapped[str | None] = mapped_column(String(255))
    lease_expires_at: Mapped[datetime | None] = mapped_column(UtcTime)
    cancel_requested_at: Mapped[datetime | None] = mapped_column(UtcTime)
    progress_done: Mapped[int | None]
    progress_total: Mapped[int | None]
    progress_message: Mapped[str | None] = mapped_column(String(255))
    checkpoint: Mapped[dict[str, Any] | None] = mapped_column(Json)
    result: Mapped[Any | None] = mapped_column(Json)
    error: Mapped[str | None] = mapped_column(String(500))

    __table_args__ = (
        Index("ix_jobs_due", "state", "run_at", "id"),
        Index("ix_jobs_lease", "state", "lease_expires_at"),
        Index("ix_jobs_type", "type", "id"),
        Index("ix_jobs_state", "state", "id"),
        # What a worker looks at to choose its next jobs.
        Index(
            "ix_jobs_queued",
            "queue",
            "priority",
            "run_at",
            "id",
            sqlite_where=text(_IS_QUEUED),
            postgresql_where=text(_IS_QUEUED),
        ),
        # At most one unfinished job for a key: what makes a second enqueue return the first job.
        Index(
            "uq_jobs_unique_key_active",
            "unique_key",
            unique=True,
            sqlite_where=text(_IS_ACTIVE),
            postgresql_where=text(_IS_ACTIVE),
        ),
    )


class JobAttempt(Base):
    """One try at one job, and how it ended."""

    __tablename__ = "job_attempts"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    job_id: Mapped[int] = mapped_column(BigId, ForeignKey("jobs.id", ondelete="CASCADE"))
    type: Mapped[str] = mapped_column(String(100))
    fence: Mapped[int]
    started_at: Mapped[datetime] = mapped_column(UtcTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcTime)
    outcome: Mapped[str] = mapped_column(String(16))
    worker: Mapped[str] = mapped_column(String(255))
    error_class: Mapped[str | None] = mapped_column(String(32))
    exception_type: Mapped[str | None] = mapped_column(String(255))
    message: Mapped[str | None] = mapped_column(Text)
    traceback: Mapped[str | None] = mapped_column(Text)
    strategy: Mapped[str | None] = mapped_column(String(32))
    delay_seconds: Mapped[float | None]

    __table_args__ = (
        Index("uq_job_attempts_fence", "job_id", "fence", unique=True),
        Index("ix_job_attempts_ended", "ended_at", "type"),
    )
