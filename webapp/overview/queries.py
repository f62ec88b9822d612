"""Gathers what the overview shows from the queries of the other capabilities."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from webapp.alerts.queries import AlertView
from webapp.audit.queries import recent_entries
from webapp.audit.values import Entry
from webapp.db import DbSession
from webapp.dead_letters.figures import Troubles, open_troubles
from webapp.flags.progress import Rollouts, rollouts_under_way
from webapp.health.service import read_health
from webapp.health.values import Assessment
from webapp.jobs.figures import TypeHealth
from webapp.jobs.queries import QueueFigures, queue_figures
from webapp.sources.queries import RunView, recent_runs_and_rate

ALERTS_SHOWN = 8
RUNS_SHOWN = 8
CHANGES_SHOWN = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Everything that the page shows; percentages 0-100."""

    has_workers: bool
    health: Assessment
    alerts: Sequence[AlertView]
    alerts_firing: int
    queue: QueueFigures
    types: Sequence[TypeHealth]
    troubles: Troubles
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


def get_overview(session: DbSession, *, now: datetime, has_workers: bool = True) -> Overview:
    """Return the overview: ten statements, however much there is."""
    health = read_health(session, now=now, has_workers=has_workers)
    runs, rate = recent_runs_and_rate(session, RUNS_SHOWN, since=now - timedelta(days=1))
    return Overview(
        has_workers=has_workers,
        health=health.assessment,
        alerts=health.alerts[:ALERTS_SHOWN],
        alerts_firing=len(health.alerts),
        queue=queue_figures(session, now=now),
        types=health.days,
        troubles=open_troubles(session, now=now),
        runs=runs,
        run_success_rate=rate,
        changes=recent_entries(session, CHANGES_SHOWN),
        rollouts=rollouts_under_way(session),
    )
