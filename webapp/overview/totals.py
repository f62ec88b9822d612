"""How much there is of each kind, counted in bounded time."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from webapp.breakers.queries import open_count
from webapp.db import DbSession
from webapp.dead_letters.figures import letter_figures
from webapp.flags.service import snapshot_status
from webapp.flags.snapshot import SnapshotStatus
from webapp.jobs.queries import count_states
from webapp.jobs.values import JobState
from webapp.paging import COUNT_CAP
from webapp.schedules.queries import count_schedules
from webapp.sources.queries import count_sources, records_by_kind
from webapp.workers.queries import alive_count


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """How much there is; jobs of a state and dead letters are counted up to one past the cap."""

    at: datetime
    flags: SnapshotStatus
    jobs: Mapping[JobState, int]
    letters_open: int
    letters_resolved: int
    schedules_enabled: int
    schedules_paused: int
    workers_alive: int
    schedulers_alive: int
    open_breakers: int
    sources: int
    records: Mapping[str, int]

    @property
    def capped(self) -> list[str]:
        """Name what there is more of than was counted."""
        counted = {f"jobs.{state}": number for state, number in self.jobs.items()} | {
            "dead_letters.open": self.letters_open,
            "dead_letters.resolved": self.letters_resolved,
        }
        return [name for name, number in counted.items() if number > COUNT_CAP]


def read_totals(session: DbSession, *, now: datetime) -> Totals:
    """Return how much there is of each kind: seven statements."""
    letters = letter_figures(session, now=now)
    enabled, paused = count_schedules(session)
    alive, scheduling, breakers = session.execute(
        select(alive_count(now=now), alive_count(now=now, scheduling=True), open_count(now=now))
    ).one()
    return Totals(
        at=now,
        flags=snapshot_status(),
        jobs=count_states(session),
        letters_open=letters.open,
        letters_resolved=letters.resolved,
        schedules_enabled=enabled,
        schedules_paused=paused,
        workers_alive=alive,
        schedulers_alive=scheduling,
        open_breakers=breakers,
        sources=count_sources(session),
        records=records_by_kind(session),
    )
