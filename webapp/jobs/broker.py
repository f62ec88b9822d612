"""The port to the queue: how the web side tells a consumer to look at a job.

A message is only ever "look at job N now"; losing one or sending it twice is harmless, since the
ledger decides.  ``tasks`` provides the real broker at start.  Without one (a command, a test) jobs
wait in the ledger until a consumer's beat finds them.
"""

import time
from datetime import datetime
from typing import Protocol

from sqlalchemy import update

from webapp.db import DbSession, after_commit, transaction
from webapp.jobs.models import Job
from webapp.jobs.values import JobState
from webapp.logs import get_logger

log = get_logger(__name__)

#: Messages that may wait in the broker; the rest stays in the ledger, where priority and due time
#: decide who is next, and where an emptied broker costs nothing.
WINDOW = 500
#: For so many seconds a broker that was full or away is not asked again by an enqueue; each further
#: failure doubles the pause up to the longest.
PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 15.0


class Broker(Protocol):
    """What a queue must be able to do; every call raises where the queue is away."""

    def send(self, job_id: int, priority: int) -> None:
        """Tell some worker to look at this job."""

    def size(self) -> int:
        """Return the number of messages that wait."""

    def waiting(self) -> set[int]:
        """Return the jobs whose messages wait."""

    def ping(self) -> None:
        """Return if the queue answers."""


class _Port:
    """The broker of this process, and until when it is left in peace."""

    def __init__(self) -> None:
        self.broker: Broker | None = None
        self.paused_until = 0.0
        self.failures = 0

    def ready(self) -> bool:
        return self.broker is not None and time.monotonic() >= self.paused_until

    def pause(self, *, failed: bool) -> None:
        self.failures = self.failures + 1 if failed else 0
        seconds = PAUSE_SECONDS * 2 ** min(max(self.failures - 1, 0), 10)
        self.paused_until = time.monotonic() + min(seconds, LONGEST_PAUSE_SECONDS)


_port = _Port()


def provide_broker(broker: Broker | None) -> None:
    """Set the broker of this process."""
    _port.broker = broker
    _port.paused_until = 0.0
    _port.failures = 0


def current_broker() -> Broker | None:
    """Return the broker of this process, None where there is none."""
    return _port.broker


def hand_over(session: DbSession, job: Job, *, now: datetime) -> None:
    """Mark a due job as dispatched, and send it once the transaction stands.

    The mark is made beforehand, so that the common case costs no second write; where sending
    fails it is taken back, and a beat sends the job later.
    """
    if not _port.ready():
        job.dispatched_at = None
        return
    job.dispatched_at = now
    session.flush()
    job_id, priority = job.id, job.priority
    after_commit(session, lambda: _send(job_id, priority, now))


def _send(job_id: int, priority: int, stamp: datetime) -> None:
    broker = _port.broker
    try:
        if broker is None or broker.size() >= WINDOW:
            _port.pause(failed=False)
        else:
            broker.send(job_id, priority)
            _port.failures = 0
            return
    except Exception as error:  # noqa: BLE001  # each broker has errors of its own; the job is safe
        _port.pause(failed=True)
        log.warning("broker_away", job_id=job_id, error=f"{type(error).__name__}: {error}")
    _take_back(job_id, stamp)


def _take_back(job_id: int, stamp: datetime) -> None:
    try:
        with transaction() as session:
            session.execute(
                update(Job)
                .where(
                    Job.id == job_id,
                    Job.state == JobState.QUEUED,
                    Job.dispatched_at == stamp,
                )
                .values(dispatched_at=None)
            )
    except Exception as error:  # noqa: BLE001  # the caller's own commit stands; a beat repairs this
        log.warning("dispatch_mark_kept", job_id=job_id, error=type(error).__name__)
