"""Gathers what the overview shows from the queries of the other capabilities."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select

from webapp.audit.queries import recent_entries
from webapp.audit.values import Entry
from webapp.breakers import queries as breaker_queries
from webapp.db import DbSession
from webapp.dead_letters.queries import Troubles, open_troubles
from webapp.flags.progress import Rollouts, rollouts_under_way
from webapp.flags.service import snapshot_status
from webapp.jobs.figures import TypeHealth, type_health
from webapp.jobs.queries import QueueFigures, queue_figures
from webapp.overview.health import (
    FAILING_PERCENT,
    FEWEST_RUNS,
    Assessment,
    Signs,
    assess,
)
from webapp.sources.queries import RunView, recent_runs, success_rate
from webapp.workers.queries import alive_count

RUNS_SHOWN = 8
CHANGES_SHOWN = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Everything that the page shows; percentages 0-100."""

    health: Assessment
    queue: QueueFigures
    types: Sequence[TypeHealth]
    workers_alive: int
    troubles: Troubles
    open_breakers: int
    runs: Sequence[RunView]
    run_success_rate: float | None
    changes: Sequence[Entry]
    rollouts: Rollouts

    @property
    def success_rate(self) -> float | None:
        """Return the share of all attempts in 24 hours that succeeded."""
        runs = sum(item.runs for item in self.types)
        return 100 * sum(item.succeeded for item in self.types) / runs if runs else None

    @property
    def attempts(self) -> int:
        """Return the number of attempts that ended within 24 hours."""
        return sum(item.runs for item in self.types)


def get_overview(session: DbSession, *, now: datetime) -> Overview:
    """Return the overview: eight statements, however much there is."""
    types = type_health(session, now=now)
    queue = queue_figures(session, now=now)
    alive, scheduling, breakers = session.execute(
        select(
            alive_count(now=now),
            alive_count(now=now, scheduling=True),
            breaker_queries.open_count(now=now),
        )
    ).one()
    troubles = open_troubles(session, now=now)
    flags = snapshot_status()
    signs = Signs(
        workers_alive=alive,
        schedulers_alive=scheduling,
        open_breakers=breakers,
        open_letters=troubles.open_letters,
        oldest_seconds=queue.oldest_seconds,
        failing=[item.type for item in types if _fails(item)],
        flags_stale=flags.stale,
        signals_down=flags.signals == "down",
    )
    return Overview(
        health=assess(signs),
        queue=queue,
        types=types,
        workers_alive=alive,
        troubles=troubles,
        open_breakers=breakers,
        runs=recent_runs(session, RUNS_SHOWN),
        run_success_rate=success_rate(session, now - timedelta(days=1)),
        changes=recent_entries(session, CHANGES_SHOWN),
        rollouts=rollouts_under_way(session),
    )


def _fails(health: TypeHealth) -> bool:
    rate = health.success_rate
    return health.runs >= FEWEST_RUNS and rate is not None and rate < FAILING_PERCENT
