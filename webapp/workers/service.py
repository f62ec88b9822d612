"""Signs of life of the consumer processes."""

from dataclasses import asdict
from datetime import datetime, timedelta

from sqlalchemy import delete, func, insert, select, update

from webapp.db import DbSession
from webapp.workers.models import Worker
from webapp.workers.values import WorkerIdentity

#: Rows of workers that are gone are kept for so long, so that a crash can be looked into.
KEPT = timedelta(days=1)


def beat(session: DbSession, worker: WorkerIdentity, *, now: datetime) -> None:
    """Say that a worker is alive, and forget those that have been gone for a day."""
    seen = session.execute(update(Worker).where(Worker.name == worker.name).values(beat_at=now))
    if not seen.rowcount:  # type: ignore[attr-defined]
        session.execute(delete(Worker).where(Worker.beat_at < now - KEPT))
        session.execute(insert(Worker).values(**asdict(worker), started_at=now, beat_at=now))


def last_beat(session: DbSession) -> datetime | None:
    """Return when a worker that has not said farewell showed life last."""
    return session.scalar(select(func.max(Worker.beat_at)).where(Worker.stopped_at.is_(None)))


def neighbours(session: DbSession, place: str, *, now: datetime) -> dict[str, int]:
    """Return the process id of each worker of this place that has not said farewell."""
    rows = session.execute(
        select(Worker.name, Worker.pid).where(
            Worker.place == place, Worker.stopped_at.is_(None), Worker.beat_at > now - KEPT
        )
    )
    return {row.name: row.pid for row in rows}


def farewell(session: DbSession, name: str, *, now: datetime) -> None:
    """Say that a worker has stopped in good order."""
    session.execute(update(Worker).where(Worker.name == name).values(stopped_at=now, beat_at=now))
