"""What an audit entry is made of.  Nothing here touches the database, the request or the clock."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Change:
    """One field's value before and after; anything that JSON can hold, times and enums too."""

    old: Any
    new: Any


@dataclass(frozen=True, slots=True)
class FieldChange:
    """A change as it is read back: which field, and its two values as they were stored."""

    field: str
    old: Any
    new: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the audit: who did what to which thing, when, and why."""

    id: int
    at: datetime
    actor_kind: str
    actor: str
    action: str
    subject: str
    name: str
    reason: str
    changes: tuple[FieldChange, ...]
    request_id: str | None
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What narrows the audit; an empty text or None asks for everything.

    ``since`` is included and ``until`` is not.  ``text`` is looked for in name and reason.
    """

    subject: str = ""
    name: str = ""
    actor: str = ""
    action: str = ""
    text: str = ""
    since: datetime | None = None
    until: datetime | None = None

    @property
    def any(self) -> bool:
        """Tell whether anything is narrowed."""
        return self != Filters()
