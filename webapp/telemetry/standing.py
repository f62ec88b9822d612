"""How things stand in the database, asked once for all gauges, in bounded time."""

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, select

from webapp.alerts.queries import active_by_severity
from webapp.breakers.service import states_by_name
from webapp.breakers.values import BreakerState
from webapp.db import DbSession, reading
from webapp.dead_letters.queries import letter_figures, oldest_open
from webapp.health.checks import Checks
from webapp.jobs.stats import queue_depths
from webapp.sources.queries import records_by_kind
from webapp.workers.queries import alive_count

# Several who scrape at once, or often, cost the database one look.
FRESH_SECONDS = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the gauges show; empty, and None, where the database has not answered."""

    breakers: Mapping[str, BreakerState] = field(default_factory=dict)
    letters: Mapping[str, int] = field(default_factory=dict)
    oldest_letter_seconds: float | None = None
    queues: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    workers: int | None = None
    records: Mapping[str, int] = field(default_factory=dict)
    flags_age: float | None = None
    alerts: Mapping[str, int] = field(default_factory=dict)


def read_standing(session: DbSession, *, now: datetime) -> dict[str, Any]:
    """Return what the database knows, in eight statements."""
    letters = letter_figures(session, now=now)
    oldest = oldest_open(session)
    return {
        "breakers": states_by_name(session, now=now),
        "letters": {"open": letters.open, "resolved": letters.resolved},
        "oldest_letter_seconds": max(0.0, (now - oldest).total_seconds()) if oldest else 0.0,
        "queues": queue_depths(session),
        "workers": session.scalar(select(alive_count(now=now))) or 0,
        "records": records_by_kind(session),
        "alerts": active_by_severity(session),
    }


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
