"""The table of channels."""

from datetime import datetime

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from webapp.db import Base, UtcTime


class Channel(Base):
    """Where messages go; ``place`` is what may be shown of the address, ``sealed_url`` hides it."""

    __tablename__ = "channels"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    kind: Mapped[str] = mapped_column(String(64))
    place: Mapped[str] = mapped_column(String(300))
    sealed_url: Mapped[str] = mapped_column(Text)
    enabled: Mapped[bool]
    version: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    created_by: Mapped[str] = mapped_column(String(255))
    updated_at: Mapped[datetime] = mapped_column(UtcTime)
    updated_by: Mapped[str] = mapped_column(String(255))
