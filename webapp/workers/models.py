"""The table of workers: a row for each consumer process."""

from datetime import datetime

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from webapp.db import Base, BigId, Json, UtcTime


class Worker(Base):
    """One consumer process and its last sign of life."""

    __tablename__ = "workers"

    name: Mapped[str] = mapped_column(String(255), primary_key=True)
    place: Mapped[str] = mapped_column(String(255))
    host: Mapped[str] = mapped_column(String(255))
    pid: Mapped[int]
    kind: Mapped[str] = mapped_column(String(16))
    processes: Mapped[int]
    version: Mapped[str] = mapped_column(String(32))
    started_at: Mapped[datetime] = mapped_column(UtcTime)
    beat_at: Mapped[datetime] = mapped_column(UtcTime, index=True)
    stopped_at: Mapped[datetime | None] = mapped_column(UtcTime)
    # Which queues it takes jobs from; empty means all.
    queues: Mapped[list[str]] = mapped_column(Json, default=list)
    done: Mapped[int] = mapped_column(default=0)
    failed: Mapped[int] = mapped_column(default=0)
    # Whether it does what is due for all: schedules, what was lost, figures.
    scheduler: Mapped[bool] = mapped_column(default=True)
    # Resident memory of the consumer and its worker processes.
    memory_bytes: Mapped[int | None] = mapped_column(BigId)
    stop_requested_at: Mapped[datetime | None] = mapped_column(UtcTime)
    stop_requested_by: Mapped[str | None] = mapped_column(String(255))
