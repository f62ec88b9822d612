"""The only clock of the program; everything else is handed the time as an argument."""

from datetime import UTC, datetime


def now() -> datetime:
    """Return the present moment as an aware UTC time."""
    return datetime.now(UTC)
