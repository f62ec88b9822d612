"""The table of idempotency keys: who carries a request out, and what it was answered."""

from datetime import datetime
from typing import Final

from sqlalchemy import Index, LargeBinary, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from webapp.db import Base, BigId, Json, UtcTime
from webapp.idempotency.values import MAX_KEY, MAX_REQUEST

IS_REPEATED: Final = "replays + conflicts + mismatches > 0"


class IdempotencyKey(Base):
    """One key of one principal.

    It is claimed while ``answered_at`` is empty, and answered after.  ``claim`` is a random name of
    whoever claimed it last; only under that name is it answered or released.
    """

    __tablename__ = "idempotency_keys"
    __table_args__ = (
        # In this order it also finds a key whose principal nobody knows.
        UniqueConstraint("key", "principal"),
        Index(None, "expires_at"),
        # Few are ever repeated, and only those are added up.
        Index(
            "ix_idempotency_keys_repeated",
            "id",
            sqlite_where=text(IS_REPEATED),
            postgresql_where=text(IS_REPEATED),
        ),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    principal: Mapped[str] = mapped_column(String(200))
    key: Mapped[str] = mapped_column(String(MAX_KEY))
    request: Mapped[str] = mapped_column(String(MAX_REQUEST))
    fingerprint: Mapped[str] = mapped_column(String(64))
    claim: Mapped[str] = mapped_column(String(32))
    claimed_at: Mapped[datetime] = mapped_column(UtcTime)
    expires_at: Mapped[datetime] = mapped_column(UtcTime)
    answered_at: Mapped[datetime | None] = mapped_column(UtcTime)
    status: Mapped[int | None]
    headers: Mapped[list[list[str]] | None] = mapped_column(Json)
    body: Mapped[bytes | None] = mapped_column(LargeBinary)
    replays: Mapped[int]
    conflicts: Mapped[int]
    mismatches: Mapped[int]
