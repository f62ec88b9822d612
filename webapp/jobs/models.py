"""The ledger's tables: jobs and their attempts."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, Integer, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from webapp.db import Base, BigId, Json, UtcTime
from webapp.jobs.lifecycle import ACTIVE, WAITING
from webapp.jobs.values import JobState
from webapp.reasons import MAX_REASON

_IS_ACTIVE = "state IN ({})".format(", ".join(f"'{state}'" for state in sorted(ACTIVE)))
_IS_QUEUED = f"state = '{JobState.QUEUED}'"
#: As the indexes spell it out, so that the database sees that they will do.
IS_HELD = "held"
MAY_EXPIRE = "expires_at IS NOT NULL AND state IN ({})".format(
    ", ".join(f"'{state}'" for state in sorted(WAITING))
)
IS_TO_TELL = "callback_url IS NOT NULL AND callback_job_id IS NULL"


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
    # A job that has not begun by then is canceled.
    expires_at: Mapped[datetime | None] = mapped_column(UtcTime)
    # Whether it waits for other jobs, see JobDependency.
    held: Mapped[bool] = mapped_column(default=False)
    batch_id: Mapped[int | None] = mapped_column(BigId)
    callback_url: Mapped[str | None] = mapped_column(String(2000))
    # The job that tells the callback's address of this one's end.
    callback_job_id: Mapped[int | None] = mapped_column(BigId)

    __table_args__ = (
        Index("ix_jobs_due", "state", "run_at", "id"),
        Index("ix_jobs_lease", "state", "lease_expires_at"),
        Index("ix_jobs_type", "type", "id"),
        Index("ix_jobs_state", "state", "id"),
        # What lists are narrowed to: each is read newest first, so each ends in the id.
        Index("ix_jobs_type_state", "type", "state", "id"),
        Index("ix_jobs_queue", "queue", "id"),
        Index("ix_jobs_created_at", "created_at"),
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
        Index(
            "ix_jobs_held",
            "id",
            sqlite_where=text(IS_HELD),
            postgresql_where=text(IS_HELD),
        ),
        Index(
            "ix_jobs_expires",
            "expires_at",
            sqlite_where=text(MAY_EXPIRE),
            postgresql_where=text(MAY_EXPIRE),
        ),
        Index(
            "ix_jobs_batch",
            "batch_id",
            "state",
            sqlite_where=text("batch_id IS NOT NULL"),
            postgresql_where=text("batch_id IS NOT NULL"),
        ),
        Index(
            "ix_jobs_callback",
            "finished_at",
            sqlite_where=text(IS_TO_TELL),
            postgresql_where=text(IS_TO_TELL),
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
    # When the job was due, so that the wait is known after the job was put off again.
    due_at: Mapped[datetime | None] = mapped_column(UtcTime)
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
    # What flags answered to this attempt: name, and whether it was on or its variant.
    flags_seen: Mapped[dict[str, Any] | None] = mapped_column(Json)

    __table_args__ = (
        Index("uq_job_attempts_fence", "job_id", "fence", unique=True),
        Index("ix_job_attempts_ended", "ended_at", "type"),
    )


class JobDependency(Base):
    """A job that waits for another one to succeed."""

    __tablename__ = "job_dependencies"

    job_id: Mapped[int] = mapped_column(
        BigId, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True
    )
    depends_on_id: Mapped[int] = mapped_column(
        BigId, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True, index=True
    )


class JobBatch(Base):
    """Jobs that were enqueued together, and the job that is to run when all have ended."""

    __tablename__ = "job_batches"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    name: Mapped[str] = mapped_column(String(255))
    size: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    created_by: Mapped[str] = mapped_column(String(255))
    then_type: Mapped[str | None] = mapped_column(String(100))
    then_arguments: Mapped[dict[str, Any] | None] = mapped_column(Json)
    then_job_id: Mapped[int | None] = mapped_column(BigId)
    finished_at: Mapped[datetime | None] = mapped_column(UtcTime, index=True)


class JobLogLine(Base):
    """What a job said while it ran; facts are masked before they are written."""

    __tablename__ = "job_log_lines"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    job_id: Mapped[int] = mapped_column(BigId, ForeignKey("jobs.id", ondelete="CASCADE"))
    fence: Mapped[int]
    at: Mapped[datetime] = mapped_column(UtcTime)
    level: Mapped[str] = mapped_column(String(16))
    event: Mapped[str] = mapped_column(String(255))
    facts: Mapped[dict[str, Any]] = mapped_column(Json)

    __table_args__ = (Index("ix_job_log_lines_job", "job_id", "id"),)


class JobQueue(Base):
    """A queue that somebody has paused, or had paused."""

    __tablename__ = "job_queues"

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    paused_at: Mapped[datetime | None] = mapped_column(UtcTime)
    paused_by: Mapped[str | None] = mapped_column(String(255))
    reason: Mapped[str | None] = mapped_column(String(MAX_REASON))


class JobTypeSetting(Base):
    """What operators have set for a type of job; an empty number means the type's own."""

    __tablename__ = "job_type_settings"

    type: Mapped[str] = mapped_column(String(100), primary_key=True)
    paused_at: Mapped[datetime | None] = mapped_column(UtcTime)
    paused_by: Mapped[str | None] = mapped_column(String(255))
    reason: Mapped[str | None] = mapped_column(String(MAX_REASON))
    max_retries: Mapped[int | None]
    initial_delay: Mapped[float | None]
    backoff_factor: Mapped[float | None]
    max_delay: Mapped[float | None]
    jitter: Mapped[float | None]
    timeout: Mapped[float | None]
    version: Mapped[int] = mapped_column(default=1)
    updated_at: Mapped[datetime] = mapped_column(UtcTime)
    updated_by: Mapped[str] = mapped_column(String(255))


class JobMetric(Base):
    """How the attempts of one type went that ended in one span; ``seconds`` is 60 or 3,600.

    ``run_buckets`` and ``wait_buckets`` count attempts by how long they ran and had waited.
    """

    __tablename__ = "job_metrics"

    type: Mapped[str] = mapped_column(String(100), primary_key=True)
    seconds: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcTime, primary_key=True)
    runs: Mapped[int]
    succeeded: Mapped[int]
    failed: Mapped[int]
    retried: Mapped[int]
    dead: Mapped[int]
    deferred: Mapped[int]
    lost: Mapped[int]
    canceled: Mapped[int]
    run_buckets: Mapped[list[int]] = mapped_column(Json)
    wait_buckets: Mapped[list[int]] = mapped_column(Json)

    __table_args__ = (Index("ix_job_metrics_at", "seconds", "at"),)


class JobMetricHead(Base):
    """One row: when somebody last began to count, and up to when counts are final."""

    __tablename__ = "job_metric_head"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    claimed_at: Mapped[datetime] = mapped_column(UtcTime)
    closed_until: Mapped[datetime] = mapped_column(UtcTime)
