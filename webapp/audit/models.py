"""The table of the audit.  Its rows are added and never changed."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from webapp.db import Base, BigId, Json, UtcTime


class AuditEntry(Base):
    """One change: ``changes`` maps each field to its old and new value."""

    __tablename__ = "audit_entries"
    # Each filter of the page is read newest first, so each index ends in the id.
    __table_args__ = (
        Index(None, "subject", "name", "id"),
        Index(None, "actor", "id"),
        Index(None, "action", "id"),
        Index(None, "at"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcTime)
    actor_kind: Mapped[str] = mapped_column(String(16))
    actor: Mapped[str] = mapped_column(String(255))
    action: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(255))
    reason: Mapped[str] = mapped_column(Text)
    changes: Mapped[dict[str, list[Any]]] = mapped_column(Json)
    request_id: Mapped[str | None] = mapped_column(String(128))
