"""The vocabulary of rate limits.  Nothing here touches Redis, the database or the clock."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

MAX_NAME = 200
MAX_CALLS = 10_000
MAX_SECONDS = 86_400
#: A pause ends after a day at most, however long the other side asks for.
MAX_PAUSE = 86_400.0
#: What begins the names of guards around sources.
SOURCE_PREFIX = "source:"


class LimitOutcome(StrEnum):
    """What became of a call that asked."""

    ALLOWED = "allowed"
    WAITED = "waited"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Rule:
    """So many calls within any so many seconds."""

    calls: int
    seconds: int


#: Somebody's word that there is no limit, which is more than nobody's word.
NO_LIMIT = Rule(0, 0)


class LimitedSource(Protocol):
    """What is known here of a source: its own numbers, none for those of its kind."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def kind(self) -> str:
        """How it is read."""

    @property
    def rate_limit(self) -> int | None:
        """How many calls."""

    @property
    def rate_window(self) -> int | None:
        """In how many seconds."""


@dataclass(frozen=True, slots=True)
class Usage:
    """How much of a rule is used; ``reset`` is the seconds until the oldest call no longer counts.

    None where nothing is used.
    """

    used: int
    reset: float | None


@dataclass(frozen=True, slots=True)
class Pause:
    """Until when no call goes through, and why."""

    until: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class SharedLimit:
    """What all processes know of one name; ``said`` is what its owner says, None for nothing."""

    said: Rule | None
    pause: Pause | None


@dataclass(frozen=True, slots=True)
class Counts:
    """How many calls asked, by what became of them; those that waited are not in ``allowed``."""

    allowed: int = 0
    waited: int = 0
    refused: int = 0

    def plus(self, other: "Counts") -> "Counts":
        """Return both together."""
        return Counts(
            self.allowed + other.allowed, self.waited + other.waited, self.refused + other.refused
        )

    def minus(self, other: "Counts") -> "Counts":
        """Return what has been added since ``other``."""
        return Counts(
            self.allowed - other.allowed, self.waited - other.waited, self.refused - other.refused
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitStats:
    """One limit as it is shown; ``limit`` and ``left`` are None where there is none.

    ``reset`` is in seconds, as in :class:`Usage`.
    """

    name: str
    limit: Rule | None
    used: int
    left: int | None
    reset: float | None
    counts: Counts
    pause: Pause | None

    @property
    def source(self) -> str:
        """Return the source that it is the limit of."""
        return self.name.removeprefix(SOURCE_PREFIX)
