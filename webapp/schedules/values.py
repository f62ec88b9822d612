"""The vocabulary of schedules.  Nothing here touches the database, the queue or the clock."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

MAX_NAME = 64
MAX_CRON = 100
MAX_PRIORITY = 100


class Overlap(StrEnum):
    """What happens at a due time while a job of this schedule is unfinished."""

    SKIP = "skip"
    QUEUE = "queue"


class CatchUp(StrEnum):
    """What happens to due times that passed while nobody looked."""

    NONE = "none"
    ONE = "one"


class FiringOutcome(StrEnum):
    """What became of a due time."""

    ENQUEUED = "enqueued"
    SKIPPED = "skipped"
    MISSED = "missed"
    REFUSED = "refused"


class ScheduleState(StrEnum):
    """How a schedule stands, for whoever looks after it."""

    ACTIVE = "active"
    LATE = "late"
    FAILING = "failing"
    BROKEN = "broken"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleDraft:
    """All that somebody writes of a schedule; ``priority`` None is that of the job's type."""

    name: str
    type: str
    cron: str
    timezone: str = "UTC"
    arguments: Mapping[str, Any]
    overlap: str = Overlap.SKIP
    catch_up: str = CatchUp.ONE
    priority: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a beat does about a schedule that is due.

    ``due_at`` is the newest due time that has come, ``passed`` counts those before it that nobody
    fired; ``fires`` is False where it is too late and the schedule makes nothing up.
    """

    due_at: datetime
    passed: int
    fires: bool
    next_at: datetime | None
