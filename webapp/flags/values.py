"""The vocabulary of flags: what one holds, what a caller asks, what the answer says, the limits.

Plain values only.  Nothing here touches the database, the clock or Flask.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import Enum, StrEnum
from types import MappingProxyType
from typing import Any, Final, NamedTuple

MAX_IDS: Final = 10_000
MAX_ID: Final = 255
MAX_NAME: Final = 255
MAX_DESCRIPTION: Final = 2_000
MAX_REASON: Final = 500
MAX_ENVIRONMENTS: Final = 50
MAX_TAGS: Final = 20
MAX_WORD: Final = 64
MAX_METADATA: Final = 16_384
MAX_METADATA_LEVELS: Final = 20

# Addresses have these in the place of a flag's name.
RESERVED_NAMES: Final = frozenset({"export", "metrics", "new"})

# What an operator may change; everything else about a flag is an admin's.
OPERATOR_FIELDS: Final = frozenset({"enabled", "percentage"})

NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class Reason(StrEnum):
    """Why a flag answered as it did."""

    NOT_FOUND = "not_found"
    DISABLED = "disabled"
    NOT_STARTED = "not_started"
    EXPIRED = "expired"
    BLACKLIST = "blacklist"
    ENVIRONMENT_OVERRIDE = "environment_override"
    ENVIRONMENT = "environment"
    WHITELIST = "whitelist"
    EVERYONE = "everyone"
    NOBODY = "nobody"
    NO_SUBJECT = "no_subject"
    PERCENTAGE = "percentage"


class FlagState(StrEnum):
    """How a flag stands as a whole, in one word for lists."""

    ON = "on"
    PARTIAL = "partial"
    OFF = "off"
    KILLED = "killed"
    NOT_STARTED = "not_started"
    EXPIRED = "expired"
    ARCHIVED = "archived"


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer of one flag for one subject; ``variant`` names what an on-flag returns."""

    enabled: bool
    reason: Reason
    variant: str | None = None


class EvaluationContext(NamedTuple):
    """What a flag is asked about: a tuple, because one is made for every evaluation.

    ``attributes`` are facts about the subject that only the caller knows, such as its plan.
    """

    subject: str | None
    environment: str
    now: datetime
    attributes: Mapping[str, Any] = NOTHING


Override = bool | float


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagDefinition:
    """All of a flag that decides; ``percentage`` goes from 0 to 100 in steps of 0.01.

    An environment's override is True or False (on or off for all that are not blacklisted), or a
    percentage of its own.
    """

    name: str
    enabled: bool = False
    percentage: float = 0.0
    whitelist: tuple[str, ...] = ()
    blacklist: tuple[str, ...] = ()
    environments: tuple[str, ...] = ()
    environment_overrides: Mapping[str, Override] = field(default_factory=dict)
    starts_at: datetime | None = None
    expires_at: datetime | None = None
    stickiness: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagDraft(FlagDefinition):
    """A whole flag as somebody wants it; an empty ``stickiness`` means the flag's name."""

    description: str = ""
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)


class Unset(Enum):
    """Stands for "not given", since None is a value."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagChanges:
    """The fields of a flag that somebody wants changed; the rest stays as it is."""

    enabled: bool | Unset = UNSET
    percentage: float | Unset = UNSET
    whitelist: tuple[str, ...] | Unset = UNSET
    blacklist: tuple[str, ...] | Unset = UNSET
    environments: tuple[str, ...] | Unset = UNSET
    environment_overrides: Mapping[str, Override] | Unset = UNSET
    starts_at: datetime | Unset | None = UNSET
    expires_at: datetime | Unset | None = UNSET
    stickiness: str | Unset = UNSET
    description: str | Unset = UNSET
    tags: tuple[str, ...] | Unset = UNSET
    metadata: Mapping[str, Any] | Unset = UNSET

    def given(self) -> dict[str, Any]:
        """Return the fields that are given, by name."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: value for name, value in values.items() if value is not UNSET}


def subject_id(value: object) -> str | None:
    """Return a subject's id as text, whatever type the caller keeps it in; nothing is None."""
    if type(value) is str:
        return value or None
    return None if value is None else str(value) or None
