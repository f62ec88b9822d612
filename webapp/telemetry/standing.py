"""How things stand in the database, asked once for all gauges, in bounded time."""

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, select

from webapp.alerts.queries import active_by_severity
from webapp.breakers.service import states_by_name
from webapp.breakers.values import BreakerState
from webapp.db import DbSession, reading
from webapp.dead_letters.figures import LettersOfType, letters_by_type
from webapp.dead_letters.values import Status
from webapp.health.checks import Checks
from webapp.jobs.queries import due_jobs
from webapp.jobs.stats import queue_depths
from webapp.sources.queries import records_by_kind
from webapp.workers.queries import alive_count

# Several who scrape at once, or often, cost the database one look.
FRESH_SECONDS = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the gauges show; empty, and None, where the database has not answered.

    Ages are seconds: those of the oldest open letters by type, and of what is due by queue.
    """

    breakers: Mapping[str, BreakerState] = field(default_factory=dict)
    letters: Sequence[LettersOfType] = ()
    oldest_letters: Mapping[str, float] = field(default_factory=dict)
    queues: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    oldest_due: Mapping[str, float] = field(default_factory=dict)
    workers: int | None = None
    records: Mapping[str, int] = field(default_factory=dict)
    flags_age: float | None = None
    alerts: Mapping[str, int] = field(default_factory=dict)


def read_standing(session: DbSession, *, now: datetime) -> dict[str, Any]:
    """Return what the database knows, in seven statements."""
    letters = letters_by_type(session)
    return {
        "breakers": states_by_name(session, now=now),
        "letters": letters,
        "oldest_letters": {
            item.type: _age(item.oldest, now) for item in letters if item.status == Status.OPEN
        },
        "queues": queue_depths(session),
        "oldest_due": _oldest_due(session, now),
        "workers": session.scalar(select(alive_count(now=now))) or 0,
        "records": records_by_kind(session),
        "alerts": active_by_severity(session),
    }


def _oldest_due(session: DbSession, now: datetime) -> dict[str, float]:
    ages: dict[str, float] = {}
    for item in due_jobs(session, now=now):
        ages[item.queue] = max(ages.get(item.queue, 0.0), _age(item.since, now))
    return ages


def _age(moment: datetime, now: datetime) -> float:
    return max(0.0, (now - moment).total_seconds())


class StandingBook:
    """The newest look of one process, no older than a few seconds."""

    def __init__(self) -> None:
        self._checks = Checks()
        self._lock = threading.Lock()
        self._facts: Mapping[str, Any] = {}
        self._until = 0.0

    def facts(self, engine: Engine, *, now: Callable[[], datetime]) -> Mapping[str, Any]:
        """Return what the database knows; nothing where it does not answer in time."""
        with self._lock:
            if time.monotonic() >= self._until:

                def look() -> Mapping[str, Any]:
                    with reading(engine) as session:
                        return read_standing(session, now=now())

                part = self._checks.run({"standing": look}, process=os.getpid())["standing"]
                self._facts = {} if "problem" in part.facts else part.facts
                self._until = time.monotonic() + FRESH_SECONDS
            return self._facts
