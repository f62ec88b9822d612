"""Reads the workers: who is alive, and what each runs."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from webapp.db import DbSession
from webapp.jobs.service import running_by_worker
from webapp.workers.models import Worker
from webapp.workers.values import GONE_AFTER

MOST_SHOWN = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRow:
    """One consumer process as its page shows it; ``state`` is alive, stopped or gone."""

    name: str
    host: str
    pid: int
    kind: str
    processes: int
    version: str
    state: str
    started_at: datetime
    beat_at: datetime
    running: list[int]


def list_workers(session: DbSession, *, now: datetime) -> list[WorkerRow]:
    """Return the workers of the last day, those that beat last first."""
    workers = session.scalars(select(Worker).order_by(Worker.beat_at.desc()).limit(MOST_SHOWN))
    running = running_by_worker(session)
    return [
        WorkerRow(
            name=worker.name,
            host=worker.host,
            pid=worker.pid,
            kind=worker.kind,
            processes=worker.processes,
            version=worker.version,
            state=_state(worker, now=now),
            started_at=worker.started_at,
            beat_at=worker.beat_at,
            running=running.get(worker.name, []),
        )
        for worker in workers
    ]


def count_alive(session: DbSession, *, now: datetime) -> int:
    """Count the consumer processes that have shown life within the last minute."""
    alive = (Worker.beat_at > now - GONE_AFTER, Worker.stopped_at.is_(None))
    return session.scalar(select(func.count()).select_from(Worker).where(*alive)) or 0


def _state(worker: Worker, *, now: datetime) -> str:
    if worker.stopped_at is not None:
        return "stopped"
    return "alive" if worker.beat_at > now - GONE_AFTER else "gone"
