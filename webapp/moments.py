"""How a time is written for programs; ``webapp.formats`` writes it for people.  Pure."""

from datetime import UTC, datetime


def rfc3339(moment: datetime, *, timespec: str = "auto") -> str:
    """Write an aware time in UTC, with a Z: ``2026-11-22T12:00:00Z``."""
    return moment.astimezone(UTC).isoformat(timespec=timespec).replace("+00:00", "Z")
