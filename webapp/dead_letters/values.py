"""The vocabulary of dead letters.  Nothing here touches the database, the queue or the clock."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

#: As many as one request may name; more are asked for by a filter.
MAX_NAMED: Final = 1_000
MAX_ID: Final = 2**63 - 1
#: From one retry in an hour and forty minutes to a thousand a second.
MIN_PER_MINUTE: Final = 0.01
MAX_PER_MINUTE: Final = 60_000.0
#: The ages that letters are counted and narrowed by.
AGES: Final[Mapping[str, timedelta]] = {
    "1h": timedelta(hours=1),
    "3h": timedelta(hours=3),
    "24h": timedelta(hours=24),
    "3d": timedelta(days=3),
    "7d": timedelta(days=7),
}
#: Whatever is older than the last of them.
OLDER: Final = "older"


class Reason(StrEnum):
    """Why a job was given up."""

    ATTEMPTS_SPENT = "attempts_spent"
    NOT_RETRYABLE = "not_retryable"
    WORKER_LOST = "worker_lost"
    DEFERRED_TOO_OFTEN = "deferred_too_often"

    @property
    def may_pass(self) -> bool:
        """Tell whether the same job may well succeed later: its error was no fault of its own."""
        return self != Reason.NOT_RETRYABLE


class Resolution(StrEnum):
    """How a letter was closed."""

    RETRIED = "resolved_by_retry"
    RESOLVED = "resolved"
    DISCARDED = "discarded"


class Status(StrEnum):
    """Which letters a list holds."""

    OPEN = "open"
    RESOLVED = "resolved"
    ALL = "all"


class Refusal(StrEnum):
    """Why a letter was not acted on."""

    CLOSED = "closed"
    ALREADY_RUNNING = "already_running"
    TYPE_GONE = "type_gone"
    SCHEMA_CHANGED = "schema_changed"
    UNIQUE_KEY_TAKEN = "unique_key_taken"


class BulkAction(StrEnum):
    """What is done to many letters at once."""

    RETRY = "retry"
    RESOLVE = "resolve"
    DISCARD = "discard"


@dataclass(frozen=True, slots=True)
class Cause:
    """What killed a job, as its last attempt told it."""

    reason: Reason
    error_class: str
    exception_type: str
    message: str
    traceback: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterFilters:
    """What a list of letters is narrowed to; an empty text means anything.

    ``older`` and ``newer`` are words of ``AGES``: failed longer ago, and less long ago.
    """

    status: str = Status.OPEN
    type: str = ""
    exception: str = ""
    fingerprint: str = ""
    text: str = ""
    older: str = ""
    newer: str = ""

    @property
    def narrowed(self) -> dict[str, str]:
        """Return what narrows the letters of a status, by name."""
        names = ("type", "exception", "fingerprint", "text", "older", "newer")
        return {name: value for name in names if (value := getattr(self, name))}

    @property
    def any(self) -> bool:
        """Tell whether more than the open letters is asked for."""
        return bool(self.status != Status.OPEN or self.narrowed)


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkOrder:
    """What is to be done to which open letters.

    Those that fit ``filters``, or those of ``job_ids``, and in either case only what had failed by
    ``at``: whatever fails later, a retried letter too, is not among what somebody has looked at.
    ``why`` is for those that are closed; ``per_minute`` and ``breaker`` say when retries go.
    """

    action: BulkAction
    at: datetime
    filters: LetterFilters = field(default_factory=LetterFilters)
    job_ids: tuple[int, ...] | None = None
    why: str = ""
    per_minute: float | None = None
    breaker: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """How far a bulk has come: behind the letter ``after``, with the next retry due at ``due``."""

    after: int = 0
    done: int = 0
    refused: Mapping[Refusal, int] = field(default_factory=Counter)
    due: datetime | None = None
    over: bool = False

    @property
    def looked_at(self) -> int:
        """Return how many letters have had their turn."""
        return self.done + sum(self.refused.values())
