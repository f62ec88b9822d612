"""The tables of breakers: what all processes know of each circuit, and how it came to it."""

from datetime import datetime

from sqlalchemy import Float, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from webapp.db import Base, BigId, UtcTime


class CircuitBreakerState(Base):
    """One circuit; ``failures`` are those in a row that a process last told of."""

    __tablename__ = "circuit_breaker_state"

    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    state: Mapped[str] = mapped_column(String(16))
    opened_at: Mapped[datetime | None] = mapped_column(UtcTime)
    open_seconds: Mapped[float] = mapped_column(Float)
    failures: Mapped[int]
    failure_threshold: Mapped[int]
    last_error: Mapped[str | None] = mapped_column(Text)
    updated_at: Mapped[datetime] = mapped_column(UtcTime)
    version: Mapped[int]


class CircuitBreakerEvent(Base):
    """One transition; ``actor`` is who reset the circuit, or the program itself."""

    __tablename__ = "circuit_breaker_events"
    __table_args__ = (Index(None, "name", "id"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    at: Mapped[datetime] = mapped_column(UtcTime)
    old_state: Mapped[str] = mapped_column(String(16))
    new_state: Mapped[str] = mapped_column(String(16))
    error: Mapped[str | None] = mapped_column(Text)
    actor: Mapped[str] = mapped_column(String(255))
