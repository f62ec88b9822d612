"""The table of reports."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from webapp.db import Base, BigId, UtcTime


class Report(Base):
    """A report that was asked for; it has a file once it has a size and a time of its end."""

    __tablename__ = "reports"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    format: Mapped[str] = mapped_column(String(8))
    days: Mapped[int]
    source: Mapped[str | None] = mapped_column(String(64))
    # One job, one report: an attempt that runs again writes the same one.
    job_id: Mapped[int | None] = mapped_column(
        BigId, ForeignKey("jobs.id", ondelete="SET NULL"), unique=True
    )
    requested_at: Mapped[datetime] = mapped_column(UtcTime, index=True)
    requested_by: Mapped[str] = mapped_column(String(255))
    finished_at: Mapped[datetime | None] = mapped_column(UtcTime)
    size: Mapped[int | None] = mapped_column(BigId)

    # A number is given once: the file that bears it is removed after the row.
    __table_args__ = (Index("ix_reports_kind", "kind", "id"), {"sqlite_autoincrement": True})
