"""Reads the workers: who is alive, and what each runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, ScalarSelect, Select, func, select

from webapp.db import DbSession
from webapp.errors import NotFound
from webapp.jobs.service import running_by_worker
from webapp.workers.models import Worker
from webapp.workers.service import state_of
from webapp.workers.values import GONE_AFTER, WorkerState

MOST_SHOWN = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRow:
    """One consumer process as its page shows it; it takes all queues where it names none."""

    name: str
    host: str
    pid: int
    kind: str
    processes: int
    version: str
    queues: Sequence[str]
    scheduler: bool
    state: WorkerState
    started_at: datetime
    beat_at: datetime
    stopped_at: datetime | None
    stop_requested_at: datetime | None
    stop_requested_by: str | None
    running: Sequence[int]
    done: int
    failed: int
    memory_bytes: int | None

    @property
    def dom_id(self) -> str:
        """Return the name as a part of an element's id."""
        return self.name.replace(".", "-").replace(":", "-")

    @property
    def living(self) -> bool:
        """Tell whether its process runs, as far as anybody knows."""
        return self.state in {WorkerState.ALIVE, WorkerState.STOPPING}

    @property
    def stoppable(self) -> bool:
        """Tell whether it can be asked to stop."""
        return self.state == WorkerState.ALIVE


def list_workers(session: DbSession, *, now: datetime) -> list[WorkerRow]:
    """Return the workers of the last day, the living first and by name: two statements.

    They keep their places from look to look, since somebody may be about to stop one.
    """
    workers = session.scalars(
        select(Worker)
        .order_by(Worker.stopped_at.is_not(None), Worker.beat_at.desc(), Worker.name)
        .limit(MOST_SHOWN)
    )
    running = running_by_worker(session)
    rows = [_row(worker, running.get(worker.name, []), now=now) for worker in workers]
    living = sorted((row for row in rows if row.living), key=lambda row: row.name)
    return living + [row for row in rows if not row.living]


def find_row(session: DbSession, name: str, *, now: datetime) -> WorkerRow:
    """Return one worker; :class:`NotFound` where there is none."""
    worker = session.get(Worker, name, populate_existing=True)
    if worker is None:
        message = f"There is no worker {name!r}."
        raise NotFound(message)
    return _row(worker, running_by_worker(session).get(name, []), now=now)


def _row(worker: Worker, running: Sequence[int], *, now: datetime) -> WorkerRow:
    return WorkerRow(
        name=worker.name,
        host=worker.host,
        pid=worker.pid,
        kind=worker.kind,
        processes=worker.processes,
        version=worker.version,
        queues=worker.queues,
        scheduler=worker.scheduler,
        state=state_of(worker, now=now),
        started_at=worker.started_at,
        beat_at=worker.beat_at,
        stopped_at=worker.stopped_at,
        stop_requested_at=worker.stop_requested_at,
        stop_requested_by=worker.stop_requested_by,
        running=running,
        done=worker.done,
        failed=worker.failed,
        memory_bytes=worker.memory_bytes,
    )


def alive_count(*, now: datetime, scheduling: bool = False) -> ScalarSelect[int]:
    """Return a statement that counts the consumers which have shown life in the last minute.

    ``scheduling`` counts those that have a scheduler.
    """
    wanted = select(func.count()).select_from(Worker).where(*_alive(now))
    return (wanted.where(Worker.scheduler) if scheduling else wanted).scalar_subquery()


def living(*, now: datetime) -> Select[tuple[list[str], bool]]:
    """Return the statement that tells what the living consumers do: their queues, and the rest.

    A consumer without queues takes jobs from all.
    """
    return select(Worker.queues, Worker.scheduler).where(*_alive(now))


def _alive(now: datetime) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return Worker.beat_at > now - GONE_AFTER, Worker.stopped_at.is_(None)
