"""How numbers, spans of time and stored values read to people, on pages and in messages.  Pure."""

import json
from datetime import UTC, datetime
from typing import Final

NOTHING: Final = "—"

_MINUTE: Final = 60
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR


def utc(when: datetime | None) -> str:
    """Write an aware time out in UTC, to the second."""
    if when is None:
        return NOTHING
    if when.tzinfo is None:
        raise ValueError("A time without a zone cannot be shown: which moment it means is unknown.")
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def number(value: float | None, capped: bool = False) -> str:  # noqa: FBT001, FBT002 - a filter takes its argument by position
    """Write a count with thousands apart; a capped count is "at least this many"."""
    if value is None:
        return NOTHING
    return _trimmed(value) + ("+" if capped else "")


def percent(value: float | None) -> str:
    """Write a share, given from 0 to 100, with up to two decimals."""
    return NOTHING if value is None else f"{_trimmed(value)} %"


def _trimmed(value: float) -> str:
    text = f"{value:,.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def duration(seconds: float | None) -> str:
    """Write a span of time in its two largest units; below a minute to a tenth of a second."""
    if seconds is None:
        return NOTHING
    # Round before choosing the unit, else 59.97 s would read "60 s".
    if round(seconds * 1000) < 1000:  # noqa: PLR2004 - milliseconds in a second
        return f"{max(0, round(seconds * 1000))} ms"
    if round(seconds, 1) < _MINUTE:
        return f"{round(seconds, 1):g} s"
    return _two_units(round(seconds))


def _two_units(seconds: int) -> str:
    if seconds < _HOUR:
        large, small, units = *divmod(seconds, _MINUTE), ("min", "s")
    elif seconds < _DAY:
        large, small, units = seconds // _HOUR, seconds % _HOUR // _MINUTE, ("h", "min")
    else:
        large, small, units = seconds // _DAY, seconds % _DAY // _HOUR, ("d", "h")
    return f"{large} {units[0]}" + (f" {small} {units[1]}" if small else "")


def bytes_(size: float | None) -> str:
    """Write a size in binary units: 512 B, 1.5 KiB, 20 MiB."""
    if size is None:
        return NOTHING
    for unit in ("B", "KiB", "MiB", "GiB"):
        if round(size, 1) < 1024:  # noqa: PLR2004 - the step of binary units
            return f"{round(size, 1):g} {unit}"
        size /= 1024
    return f"{round(size, 1):,g} TiB"


def plain(value: object) -> str:
    """Write any stored value for a person: text as it is, nothing as a dash, the rest as JSON."""
    if value is None or value in ("", [], {}):
        return NOTHING
    if isinstance(value, str):
        return value
    if isinstance(value, datetime):
        return utc(value)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value, ensure_ascii=False, default=str)
