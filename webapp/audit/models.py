"""The tables of the audit.  Its entries are added and never changed: the session refuses to."""

from datetime import datetime
from typing import Any, Final, NoReturn

from sqlalchemy import Index, Integer, String, Text, event
from sqlalchemy.orm import Mapped, ORMExecuteState, Session, mapped_column

from webapp.db import Base, BigId, Json, UtcTime

HEAD_ROW: Final = 1


class AuditEntry(Base):
    """One change: ``changes`` maps each field to its old and new value."""

    __tablename__ = "audit_entries"
    # Each filter of the page is read newest first, so each index ends in the id.
    __table_args__ = (
        Index(None, "subject", "id"),
        Index(None, "subject", "name", "id"),
        Index(None, "actor", "id"),
        Index(None, "action", "id"),
        Index(None, "at"),
        # No two entries follow on the same one, whatever else goes wrong.
        Index("uq_audit_entries_previous_hash", "previous_hash", unique=True),
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
    previous_hash: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64))


class AuditHead(Base):
    """One row: the hash of the newest entry.  Whoever adds entries holds its lock."""

    __tablename__ = "audit_head"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    hash: Mapped[str] = mapped_column(String(64))


@event.listens_for(AuditEntry, "before_update")
@event.listens_for(AuditEntry, "before_delete")
def _refuse_change(mapper: object, connection: object, entry: AuditEntry) -> None:
    del mapper, connection
    _refuse(f"Audit entry {entry.id}")


@event.listens_for(Session, "do_orm_execute")
def _refuse_change_of_many(state: ORMExecuteState) -> None:
    if (state.is_update or state.is_delete) and state.bind_mapper is AuditEntry.__mapper__:
        _refuse("The audit")


def _refuse(what: str) -> NoReturn:
    message = f"{what} stands as it was written: entries are only added."
    raise RuntimeError(message)
