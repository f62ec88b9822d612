"""The tables of breakers: what all processes know of each circuit, and how it came to it."""

from datetime import datetime
from typing import Any

from sqlalchemy import Float, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from webapp.breakers.lifecycle import opens_at
from webapp.breakers.values import EventKind, Force
from webapp.db import Base, BigId, Json, UtcTime


def _open_until(context: Any) -> datetime | None:
    values = context.get_current_parameters()
    return opens_at(values.get("opened_at"), values["open_seconds"])


class CircuitBreakerState(Base):
    """One circuit; ``failures`` are those in a row that a process last told of.

    ``version`` rises with each transition, ``revision`` with each change of thresholds by a person.
    ``declared`` are the thresholds that code gave, ``thresholds`` those of a person, which win.
    """

    __tablename__ = "circuit_breaker_state"
    __table_args__ = (Index(None, "updated_at"), Index(None, "force_until"))

    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    state: Mapped[str] = mapped_column(String(16))
    opened_at: Mapped[datetime | None] = mapped_column(UtcTime)
    open_until: Mapped[datetime | None] = mapped_column(UtcTime, default=_open_until)
    open_seconds: Mapped[float] = mapped_column(Float)
    failures: Mapped[int]
    failure_threshold: Mapped[int]
    opens: Mapped[int] = mapped_column(default=0)
    successes: Mapped[int] = mapped_column(default=0)
    trial_until: Mapped[datetime | None] = mapped_column(UtcTime)
    last_error: Mapped[str | None] = mapped_column(Text)
    declared: Mapped[dict[str, Any] | None] = mapped_column(Json)
    thresholds: Mapped[dict[str, Any] | None] = mapped_column(Json)
    revision: Mapped[int] = mapped_column(default=0)
    force: Mapped[str] = mapped_column(String(16), default=Force.NONE)
    force_until: Mapped[datetime | None] = mapped_column(UtcTime)
    force_reason: Mapped[str | None] = mapped_column(Text)
    force_by: Mapped[str | None] = mapped_column(String(255))
    updated_at: Mapped[datetime] = mapped_column(UtcTime)
    version: Mapped[int]


class CircuitBreakerEvent(Base):
    """One transition, reset, force or change of thresholds.

    ``actor`` is who did it, or the program itself; ``note`` is what a person forced or changed.
    """

    __tablename__ = "circuit_breaker_events"
    __table_args__ = (Index(None, "name", "id"), Index(None, "at"))

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    at: Mapped[datetime] = mapped_column(UtcTime)
    kind: Mapped[str] = mapped_column(String(16), default=EventKind.TRANSITION)
    old_state: Mapped[str] = mapped_column(String(16))
    new_state: Mapped[str] = mapped_column(String(16))
    error: Mapped[str | None] = mapped_column(Text)
    note: Mapped[str | None] = mapped_column(Text)
    reason: Mapped[str | None] = mapped_column(Text)
    actor: Mapped[str] = mapped_column(String(255))


class CircuitBreakerMinute(Base):
    """What all processes counted of one breaker in one minute, right to ten seconds."""

    __tablename__ = "circuit_breaker_minutes"

    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    minute: Mapped[datetime] = mapped_column(UtcTime, primary_key=True)
    calls: Mapped[int]
    failures: Mapped[int]
    slow: Mapped[int]
    refused: Mapped[int]
    spared: Mapped[int]
    neutral: Mapped[int] = mapped_column(default=0, server_default="0")


class CircuitBreakerUse(Base):
    """Who calls through a breaker: a type of job or a function, and when it was last seen."""

    __tablename__ = "circuit_breaker_uses"

    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    caller: Mapped[str] = mapped_column(String(200), primary_key=True)
    seen_at: Mapped[datetime] = mapped_column(UtcTime)
