"""The tables of rate limits: what all processes know of a name, and what each has used alone."""

from datetime import datetime

from sqlalchemy import Float, String
from sqlalchemy.orm import Mapped, mapped_column

from webapp.db import Base, BigId, UtcTime
from webapp.reasons import MAX_REASON


class RateLimitState(Base):
    """One name: its pause, and how many calls asked in all processes."""

    __tablename__ = "rate_limits"

    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    paused_until: Mapped[datetime | None] = mapped_column(UtcTime)
    pause_reason: Mapped[str | None] = mapped_column(String(MAX_REASON))
    allowed: Mapped[int] = mapped_column(BigId, default=0)
    waited: Mapped[int] = mapped_column(BigId, default=0)
    refused: Mapped[int] = mapped_column(BigId, default=0)
    updated_at: Mapped[datetime] = mapped_column(UtcTime)


class RateLimitShare(Base):
    """What one process has used of its share, where counts are not in Redis."""

    __tablename__ = "rate_limit_shares"

    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    process: Mapped[str] = mapped_column(String(100), primary_key=True)
    used: Mapped[int]
    # The seconds after ``at`` at which the oldest of these calls no longer counts.
    reset: Mapped[float] = mapped_column(Float)
    at: Mapped[datetime] = mapped_column(UtcTime, index=True)
