"""How the queue stands and how it went, for programs: ``GET /api/v1/queue/stats``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, union_all

from webapp.db import DbSession
from webapp.jobs.figures import Step, TypeFigures, throughput, type_figures
from webapp.jobs.lifecycle import ACTIVE
from webapp.jobs.models import Job
from webapp.jobs.queries import count_states
from webapp.jobs.rollup import HOUR, MINUTE
from webapp.jobs.values import JobState
from webapp.paging import COUNT_CAP


@dataclass(frozen=True, slots=True)
class Oldest:
    """The queued job that has been due for longest."""

    id: int
    type: str
    queue: str
    due_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueStats:
    """Everything that is told; unfinished jobs are counted by queue and by type as well.

    Each state is counted up to one past the cap, so the counts by queue and type have a bound too.
    """

    at: datetime
    states: Mapping[JobState, int]
    queues: Mapping[str, Mapping[str, int]]
    types: Mapping[str, Mapping[str, int]]
    oldest: Oldest | None
    minutes: Sequence[Step]
    hours: Sequence[Step]
    last_hour: Sequence[TypeFigures]


def queue_stats(session: DbSession, *, now: datetime) -> QueueStats:
    """Return how the queue stands: six statements, however many jobs there are."""
    queues, types = _unfinished(session)
    return QueueStats(
        at=now,
        states=count_states(session),
        queues=queues,
        types=types,
        oldest=_oldest_queued(session),
        minutes=throughput(session, now=now, seconds=MINUTE),
        hours=throughput(session, now=now, seconds=HOUR),
        last_hour=type_figures(session, now=now),
    )


def queue_depths(session: DbSession) -> Mapping[str, Mapping[str, int]]:
    """Count the unfinished jobs of each queue by state, in one statement and up to the cap."""
    return _unfinished(session)[0]


_Counts = dict[str, dict[str, int]]


def _unfinished(session: DbSession) -> tuple[_Counts, _Counts]:
    """Count the unfinished jobs by queue and by type, each state up to one past the cap."""
    some = union_all(
        *(
            select(
                select(Job.queue, Job.type, Job.state)
                .where(Job.state == state)
                .limit(COUNT_CAP + 1)
                .subquery()
            )
            for state in sorted(ACTIVE)
        )
    ).subquery()
    rows = session.execute(select(*some.c, func.count().label("number")).group_by(*some.c)).all()
    queues: _Counts = {}
    types: _Counts = {}
    for row in rows:
        for counts, name in ((queues, row.queue), (types, row.type)):
            by_state = counts.setdefault(name, dict.fromkeys(sorted(ACTIVE), 0))
            by_state[row.state] += row.number
    return queues, types


def _oldest_queued(session: DbSession) -> Oldest | None:
    row = session.execute(
        select(Job.id, Job.type, Job.queue, Job.run_at)
        .where(Job.state == JobState.QUEUED)
        .order_by(Job.run_at, Job.id)
        .limit(1)
    ).one_or_none()
    return Oldest(row.id, row.type, row.queue, row.run_at) if row else None


def stats_as_json(stats: QueueStats) -> dict[str, Any]:
    """Write them for programs; what was counted no further than the cap is named."""
    return {
        "states": {state.value: number for state, number in stats.states.items()},
        "capped": [state.value for state, number in stats.states.items() if number > COUNT_CAP],
        "queues": _named(stats.queues),
        "types": _named(stats.types),
        "oldest_queued": _oldest_as_json(stats.oldest, stats.at),
        "throughput": {
            "minutes": [{"at": step.at, **step.counts} for step in stats.minutes],
            "hours": [{"at": step.at, **step.counts} for step in stats.hours],
        },
        "last_hour": [
            {
                "type": item.type,
                **item.counts,
                "run_seconds": _percentiles(item.run_seconds),
                "wait_seconds": _percentiles(item.wait_seconds),
            }
            for item in stats.last_hour
        ],
    }


def _named(counts: Mapping[str, Mapping[str, int]]) -> list[dict[str, Any]]:
    return [{"name": name, **by_state} for name, by_state in sorted(counts.items())]


def _oldest_as_json(oldest: Oldest | None, at: datetime) -> dict[str, Any] | None:
    if oldest is None:
        return None
    return {
        "id": oldest.id,
        "type": oldest.type,
        "queue": oldest.queue,
        "due_at": oldest.due_at,
        "waited_seconds": max(0.0, (at - oldest.due_at).total_seconds()),
    }


def _percentiles(values: Mapping[int, float | None]) -> dict[str, float | None]:
    """Round to a millisecond: what lies beyond is the width of a bucket."""
    return {
        f"p{percent}": None if value is None else round(value, 3)
        for percent, value in values.items()
    }
