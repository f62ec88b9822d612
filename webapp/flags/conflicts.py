"""Two people who changed one flag: which fields differ, who changed each, and whose is to stand.

Pure: it compares values as JSON holds them, field by field.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, StrEnum
from typing import Any, Final

from webapp.audit.values import Change, Entry
from webapp.moments import rfc3339


class Side(StrEnum):
    """Whose value of a field is to stand."""

    MINE = "mine"
    THEIRS = "theirs"


class Unknown(Enum):
    """Stands for a value that nobody knows any more, since None is a value."""

    UNKNOWN = "unknown"


UNKNOWN: Final = Unknown.UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class Clash:
    """One field that differs; ``choice`` is None where both changed it and nobody has chosen."""

    field: str
    before: Any
    theirs: Any
    mine: Any
    choice: Side | None


def before_changes(entries: Iterable[Entry]) -> dict[str, Any]:
    """Return what each field that was changed was before; the entries come newest first."""
    return {change.field: change.old for entry in entries for change in entry.changes}


def clashes_between(
    different: Mapping[str, Change],
    *,
    before: Mapping[str, Any] | None,
    chosen: Mapping[str, str],
) -> list[Clash]:
    """Return the fields in which what stands (old) differs from what was typed (new).

    ``before`` is what the fields that others changed were when this person began; None where that
    is not known.  A field that only one of them changed is theirs or mine as a matter of course,
    until somebody chooses otherwise.
    """
    return [
        _clash(field, change, before, chosen.get(field, "")) for field, change in different.items()
    ]


def unsettled(clashes: Iterable[Clash]) -> list[str]:
    """Return the fields for which nobody has chosen yet."""
    return [clash.field for clash in clashes if clash.choice is None]


def _clash(field: str, change: Change, known: Mapping[str, Any] | None, chosen: str) -> Clash:
    theirs, mine = _as_kept(change.old), _as_kept(change.new)
    before = UNKNOWN if known is None else known.get(field, theirs)
    natural = None
    if before == theirs:
        natural = Side.MINE
    elif before == mine:
        natural = Side.THEIRS
    choice = Side(chosen) if chosen in set(Side) else natural
    return Clash(field=field, before=before, theirs=theirs, mine=mine, choice=choice)


def _as_kept(value: Any) -> Any:
    """Write a time as the audit keeps it."""
    if isinstance(value, datetime):
        return rfc3339(value)
    return value
