"""Reads what health is judged by, in five statements, and has it judged.

Of jobs it asks the figures by minute and hour and the oldest that are due, however many there are.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, literal, select, true, union_all

from webapp.alerts.phrases import measured
from webapp.alerts.queries import MOST_RULES, AlertView, active_alerts
from webapp.breakers.queries import open_count
from webapp.db import DbSession
from webapp.dead_letters.figures import open_by_type
from webapp.flags.service import snapshot_status
from webapp.health.values import Assessment, Ended, FiringAlert, Signs, TypeEvidence, TypeVerdict
from webapp.health.verdict import assess, judge
from webapp.jobs.control import paused
from webapp.jobs.figures import TypeHealth, TypeRecords, type_records
from webapp.jobs.queries import DueJobs, due_jobs
from webapp.jobs.registry import JobType, job_types
from webapp.workers.queries import living


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthReport:
    """The verdict on the whole, and the figures behind it.

    ``days`` is of types that ran, ``alerts`` are those that fire, the worst first.
    """

    assessment: Assessment
    signs: Signs
    days: Sequence[TypeHealth]
    alerts: Sequence[AlertView]


def read_health(session: DbSession, *, now: datetime, has_workers: bool = True) -> HealthReport:
    """Return how the whole stands; ``has_workers`` tells who runs jobs here."""
    found = _read(session, now, has_workers=has_workers)
    alerts = active_alerts(session, MOST_RULES)
    flags = snapshot_status()
    signs = Signs(
        workers_alive=found.crew.alive,
        schedulers_alive=found.crew.scheduling,
        open_breakers=found.open_breakers,
        open_letters=sum(found.letters.values()),
        flags_stale=flags.stale,
        signals_down=flags.signals == "down",
        has_workers=has_workers,
    )
    return HealthReport(
        assessment=assess(signs, _judged(found, now), [_firing(alert) for alert in alerts]),
        signs=signs,
        days=found.records.day,
        alerts=alerts,
    )


def _firing(alert: AlertView) -> FiringAlert:
    figures = measured(alert.metric, alert.value, alert.sample)
    since = alert.fired_at or alert.began_at
    return FiringAlert(f"{alert.title} ({figures})", alert.severity, since)


def read_types(
    session: DbSession, *, now: datetime, has_workers: bool = True
) -> Mapping[str, TypeVerdict]:
    """Return how each type of job stands, by its name."""
    found = _read(session, now, has_workers=has_workers)
    return {item.type: item for item in _judged(found, now)}


@dataclass(frozen=True, slots=True)
class _Crew:
    """The living workers: how many, how many have a scheduler, and which queues they serve.

    Where whoever enqueues runs the jobs, all queues are served.
    """

    alive: int
    scheduling: int
    all_queues: bool
    queues: frozenset[str]

    def serves(self, queue: str) -> bool:
        return self.all_queues or queue in self.queues


@dataclass(frozen=True, slots=True)
class _Found:
    """What the database tells."""

    records: TypeRecords
    due: Sequence[DueJobs]
    letters: Mapping[str, int]
    paused_types: Collection[str]
    paused_queues: Collection[str]
    crew: _Crew
    open_breakers: int


def _read(session: DbSession, now: datetime, *, has_workers: bool) -> _Found:
    records = type_records(session, now=now)
    due = due_jobs(session, now=now)
    letters = open_by_type(now=now).subquery()
    pauses = paused().subquery()
    told = session.execute(
        union_all(
            select(literal("letters").label("kind"), letters.c[0].label("name"), letters.c[1]),
            select(pauses.c.kind, pauses.c.name, literal(1)),
        )
    ).all()
    crew = living(now=now).subquery()
    anyway = select(open_count(now=now).label("breakers")).subquery()
    workers = session.execute(
        select(anyway.c.breakers, crew.c.queues, crew.c.scheduler).select_from(
            anyway.outerjoin(crew, true())
        )
    ).all()
    return _Found(
        records=records,
        due=due,
        letters={name: number for kind, name, number in told if kind == "letters"},
        paused_types=_named(told, "type"),
        paused_queues=_named(told, "queue"),
        crew=_crew([row for row in workers if row.scheduler is not None], has_workers=has_workers),
        open_breakers=workers[0].breakers,
    )


def _named(told: Sequence[Row[Any]], kind: str) -> frozenset[str]:
    return frozenset(row[1] for row in told if row[0] == kind)


def _crew(workers: Sequence[Row[Any]], *, has_workers: bool) -> _Crew:
    return _Crew(
        alive=len(workers),
        scheduling=sum(row.scheduler for row in workers),
        all_queues=not has_workers or any(not row.queues for row in workers),
        queues=frozenset(queue for row in workers for queue in row.queues),
    )


def _judged(found: _Found, now: datetime) -> list[TypeVerdict]:
    """Judge the types of this deployment, and what else ran, waits or was given up lately."""
    kinds = {kind.name: kind for kind in job_types()}
    days = {item.type: item for item in found.records.day}
    names = {*kinds, *days, *found.letters, *(item.type for item in found.due)}
    return [
        judge(_evidence(name, kinds.get(name), days.get(name), found, now))
        for name in sorted(names)
    ]


def _evidence(
    name: str, kind: JobType | None, day: TypeHealth | None, found: _Found, now: datetime
) -> TypeEvidence:
    is_paused = name in found.paused_types
    mine = [item for item in found.due if item.type == name]
    waiting = [item for item in mine if not is_paused and item.queue not in found.paused_queues]
    last = found.records.last.get(name)
    return TypeEvidence(
        type=name,
        hour=Ended(*found.records.hour.get(name, (0, 0))),
        day=Ended(day.succeeded, day.failed) if day else Ended(),
        last_run_ago=_age(last, now) if last else None,
        oldest_due=max((_age(item.since, now) for item in waiting), default=None),
        unserved=[item.queue for item in waiting if not found.crew.serves(item.queue)],
        open_letters=found.letters.get(name, 0),
        paused=_paused(name if is_paused else "", kind, mine, found),
    )


def _paused(name: str, kind: JobType | None, due: Sequence[DueJobs], found: _Found) -> str:
    """Name what holds jobs of a type back: the type itself, else a queue that they are in."""
    if name:
        return "The type"
    queues = {item.queue for item in due} | ({kind.queue} if kind else set())
    held = sorted(queue for queue in queues if queue in found.paused_queues)
    return f"The queue {held[0]}" if held else ""


def _age(moment: datetime, now: datetime) -> float:
    return max(0.0, (now - moment).total_seconds())
