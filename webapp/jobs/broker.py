"""The port to the queue: how the web side tells a consumer to look at a job.

A message is only ever "look at job N now"; losing one or sending it twice is harmless, since the
ledger decides.  ``tasks`` provides the real broker at start.  Without one (a command, a test) jobs
wait in the ledger until a consumer's beat finds them.
"""

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from sqlalchemy import update

from webapp.db import DbSession, gather_for_commit, transaction
from webapp.jobs.models import Job
from webapp.jobs.values import JobState
from webapp.logs import get_logger

log = get_logger(__name__)

#: Messages that may wait in the broker; the rest stays in the ledger, where priority and due time
#: decide who is next, and where an emptied broker costs nothing.
WINDOW = 100
#: So many messages are sent before the broker is asked again how many wait, if that is soon.
GRANT = 20
GRANT_SECONDS = 0.1
#: For so many seconds a broker that was full is not asked again by an enqueue.
FULL_SECONDS = 0.1
#: The same for one that was away; each further failure doubles the pause up to the longest.
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
        self.granted = 0
        self.granted_until = 0.0

    def ready(self) -> bool:
        return self.broker is not None and time.monotonic() >= self.paused_until

    def has_room(self, broker: Broker) -> bool:
        """Take one of the messages that there is room for."""
        moment = time.monotonic()
        if not self.granted or moment > self.granted_until:
            self.granted = min(GRANT, max(0, WINDOW - broker.size()))
            self.granted_until = moment + GRANT_SECONDS
        if not self.granted:
            return False
        self.granted -= 1
        return True

    def pause(self, *, failed: bool) -> None:
        self.granted = 0
        self.failures = self.failures + 1 if failed else 0
        seconds = PAUSE_SECONDS * 2 ** min(self.failures - 1, 10) if failed else FULL_SECONDS
        self.paused_until = time.monotonic() + min(seconds, LONGEST_PAUSE_SECONDS)


_port = _Port()


def provide_broker(broker: Broker | None) -> None:
    """Set the broker of this process."""
    _port.broker = broker
    _port.paused_until = 0.0
    _port.failures = 0
    _port.granted = 0


def current_broker() -> Broker | None:
    """Return the broker of this process, None where there is none."""
    return _port.broker


def dispatch_mark(*, now: datetime) -> datetime | None:
    """Return what a due job is to be inserted with, so that sending it costs no second write.

    Where sending fails the mark is taken back, and a beat sends the job later.
    """
    return now if _port.ready() else None


@dataclass(frozen=True, slots=True)
class Message:
    """A job to be looked at; ``stamp`` is its mark in the ledger."""

    job_id: int
    priority: int
    stamp: datetime


def hand_over(session: DbSession, job_id: int, *, priority: int, stamp: datetime | None) -> None:
    """Send a job once the transaction stands, if it was marked."""
    if stamp is not None:
        gather_for_commit(session, _send, Message(job_id, priority, stamp))


def _send(messages: list[Message]) -> None:
    """Send as many as there is room for, the most urgent first; a beat sends the others later."""
    broker = _port.broker
    rest = sorted(messages, key=lambda message: -message.priority)
    try:
        while rest and broker is not None and _port.has_room(broker):
            broker.send(rest[0].job_id, rest[0].priority)
            _port.failures = 0
            del rest[0]
        if rest:
            _port.pause(failed=False)
    except Exception as error:  # noqa: BLE001  # each broker has errors of its own; the job is safe
        _port.pause(failed=True)
        log.warning("broker_away", job_id=rest[0].job_id, error=f"{type(error).__name__}: {error}")
    if rest:
        _take_back(rest)


def _take_back(messages: list[Message]) -> None:
    try:
        with transaction() as session:
            session.execute(
                update(Job)
                .where(
                    Job.id.in_([message.job_id for message in messages]),
                    Job.state == JobState.QUEUED,
                    Job.dispatched_at.in_({message.stamp for message in messages}),
                )
                .values(dispatched_at=None)
                .execution_options(synchronize_session=False)
            )
    except Exception as error:  # noqa: BLE001  # the caller's own commit stands; a beat repairs this
        log.warning("dispatch_mark_kept", jobs=len(messages), error=type(error).__name__)
