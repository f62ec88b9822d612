"""Signs of life of the consumer processes, and the wish that one of them stops."""

from dataclasses import asdict
from datetime import datetime, timedelta

from sqlalchemy import delete, func, insert, select, update

from webapp.actors import Actor
from webapp.audit.service import record
from webapp.db import DbSession
from webapp.errors import Conflict, NotFound
from webapp.workers.models import Worker
from webapp.workers.values import GONE_AFTER, WorkerFigures, WorkerIdentity, WorkerState

#: Rows of workers that are gone are kept for so long, so that a crash can be looked into.
KEPT = timedelta(days=1)
NO_FIGURES = WorkerFigures()


def beat(
    session: DbSession,
    worker: WorkerIdentity,
    figures: WorkerFigures = NO_FIGURES,
    *,
    now: datetime,
) -> bool:
    """Say that a worker is alive, and forget those that have been gone for a day.

    Tells whether somebody has asked it to stop.
    """
    asked = session.execute(
        update(Worker)
        .where(Worker.name == worker.name)
        .values(beat_at=now, **asdict(figures))
        .returning(Worker.stop_requested_at)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if asked is None:
        session.execute(delete(Worker).where(Worker.beat_at < now - KEPT))
        first = asdict(worker) | asdict(figures) | {"queues": list(worker.queues)}
        session.execute(insert(Worker).values(**first, started_at=now, beat_at=now))
        return False
    return asked.stop_requested_at is not None


def request_stop(session: DbSession, name: str, *, by: Actor, now: datetime) -> None:
    """Ask a worker to end once its running jobs have; it looks with each sign of life.

    Asking again changes nothing; :class:`Conflict` where it has ended or fallen silent.
    """
    asked = session.execute(
        # Conditional, so that of two who ask, one is in the audit.
        update(Worker)
        .where(
            Worker.name == name,
            Worker.stop_requested_at.is_(None),
            Worker.stopped_at.is_(None),
            Worker.beat_at > now - GONE_AFTER,
        )
        .values(stop_requested_at=now, stop_requested_by=by.name)
        .execution_options(synchronize_session=False)
    )
    if asked.rowcount:  # type: ignore[attr-defined]
        record(session, by=by, at=now, action="worker.stop_requested", subject="worker", name=name)
        return
    worker = session.get(Worker, name, populate_existing=True)
    if worker is None:
        message = f"There is no worker {name!r}."
        raise NotFound(message)
    state = state_of(worker, now=now)
    if state != WorkerState.STOPPING:
        message = f"Worker {name} is {state}: there is nothing to stop."
        raise Conflict(message)


def state_of(worker: Worker, *, now: datetime) -> WorkerState:
    """Tell how a worker stands."""
    if worker.stopped_at is not None:
        return WorkerState.STOPPED
    if worker.beat_at <= now - GONE_AFTER:
        return WorkerState.GONE
    return WorkerState.STOPPING if worker.stop_requested_at else WorkerState.ALIVE


def last_beat(session: DbSession) -> datetime | None:
    """Return when a worker that has not said farewell showed life last."""
    return session.scalar(select(func.max(Worker.beat_at)).where(Worker.stopped_at.is_(None)))


def living_processes(session: DbSession, *, now: datetime) -> int:
    """Count the processes of all living workers that run jobs; threads of one are one process."""
    rows = session.execute(
        select(Worker.kind, Worker.processes).where(
            Worker.beat_at > now - GONE_AFTER, Worker.stopped_at.is_(None)
        )
    )
    return sum(row.processes if row.kind == "process" else 1 for row in rows)


def neighbours(session: DbSession, place: str, *, now: datetime) -> dict[str, int]:
    """Return the process id of each worker of this place that has not said farewell."""
    rows = session.execute(
        select(Worker.name, Worker.pid).where(
            Worker.place == place, Worker.stopped_at.is_(None), Worker.beat_at > now - KEPT
        )
    )
    return {row.name: row.pid for row in rows}


def farewell(
    session: DbSession, name: str, *, now: datetime, figures: WorkerFigures = NO_FIGURES
) -> None:
    """Say that a worker has stopped in good order, and what it had done; it takes nothing now."""
    session.execute(
        update(Worker)
        .where(Worker.name == name)
        .values(stopped_at=now, beat_at=now, **asdict(figures))
        .execution_options(synchronize_session=False)
    )
