"""One turn of a worker: the jobs that it has claimed together, run one after another.

Holds what the worker and its heartbeat share: the claims that wait, the job that runs, the ends
that are not yet written.  It must not know what a job does, nor how its end is decided.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.exc import SQLAlchemyError

from tasks.clocks import Signals
from tasks.job_log import JobLog
from webapp.clock import now
from webapp.db import transaction
from webapp.jobs.attempts import begin, give_back
from webapp.jobs.turns import Success, succeed_all
from webapp.jobs.values import Claim
from webapp.logs import get_logger

log = get_logger(__name__)

#: An end is written once it has waited so long for those of the jobs behind it.
TOGETHER_SECONDS = 0.005
#: What waits behind a job that has run for so long goes back, so that other workers may have it.
PATIENCE_SECONDS = 0.25
# An interrupted worker waits so long for a heartbeat that is writing.
INTERRUPTED_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Running:
    """The job that runs; ``first`` tells that its claim says already that it has begun."""

    claim: Claim
    signals: Signals
    log: JobLog
    began_at: datetime
    first: bool


@dataclass(frozen=True, slots=True)
class Ended:
    """How the end of a job is written ``alone``; ``tell`` is for what wrote it otherwise."""

    alone: Callable[[], None]
    tell: Callable[[bool], None]


@dataclass(frozen=True, slots=True)
class _Unwritten:
    success: Success
    ended: Ended
    at: float


class Turn:
    """The claims of one turn; each is run, given back or, with its worker, lost."""

    def __init__(self, claims: Sequence[Claim]) -> None:
        self._first = claims[0]
        self._waiting = deque(claims)
        self._running: Running | None = None
        self._ended: list[_Unwritten] = []
        # Whose start the ledger knows.
        self._noted = claims[0]
        # Held for a moment around what is taken from ``_waiting``, for longer around what is
        # written: the heartbeat does both while a job runs.
        self._taking = threading.Lock()
        self._writing = threading.Lock()

    def next(self) -> Running | None:
        """Begin with the next claim; None where none is left."""
        with self._taking:
            if not self._waiting:
                self._running = None
                return None
            claim = self._waiting.popleft()
            first = claim is self._first
            self._running = Running(claim, Signals(), JobLog(claim), now(), first=first)
            return self._running

    def claims(self) -> list[Claim]:
        """Return every claim whose lease is to be renewed."""
        with self._taking:
            running = [self._running.claim] if self._running else []
            return [*running, *self._waiting, *(item.success.claim for item in self._ended)]

    def running(self) -> tuple[Claim, Signals] | None:
        """Return the job that runs."""
        running = self._running
        return (running.claim, running.signals) if running else None

    def drop(self, claim: Claim) -> None:
        """Forget a claim that another worker has taken over."""
        with self._taking:
            running = self._running
            if running is not None and running.claim is claim:
                running.signals.lost = True
            with suppress(ValueError):
                self._waiting.remove(claim)

    def end(self, ended: Ended, success: Success) -> None:
        """Keep a success to be written with others, unless one has waited long enough."""
        with self._taking:
            self._ended.append(_Unwritten(success, ended, time.monotonic()))
            last = not self._waiting
        if last or self._waited_enough():
            self.settle_ended()

    def tend(self) -> None:
        """Write what should not wait for the job that runs: ends, and what must wait behind it."""
        if self._waited_enough():
            self.settle_ended()
        running = self._running
        if running is None:
            return
        running.log.tend()
        if running.signals.seconds > PATIENCE_SECONDS:
            self._note_start(running)
            self.give_back()

    def _waited_enough(self) -> bool:
        with self._taking:
            oldest = self._ended[0].at if self._ended else time.monotonic()
        return time.monotonic() - oldest > TOGETHER_SECONDS

    def settle_ended(self) -> None:
        """Write all ends: together or, where that fails, each by itself."""
        with self._writing:
            self._settle_ended()

    def _settle_ended(self) -> None:
        ended = list(self._ended)
        if not ended:
            return
        together = _settled_together([item.success for item in ended])
        for item in ended:
            item.ended.tell(True) if together else item.ended.alone()
        # Only now, so that an interrupt in between loses none; a second time the fence decides.
        with self._taking:
            del self._ended[: len(ended)]

    def give_back(self) -> None:
        """Put back what has not begun, so that another worker may have it at once."""
        with self._taking:
            left = list(self._waiting)
            self._waiting.clear()
        if left:
            with transaction() as session:
                moment = now()
                for claim in left:
                    give_back(session, claim.job_id, claim.fence, now=moment)
            log.info("jobs_given_back", jobs=len(left))

    def abandon(self) -> None:
        """Write what has ended and put back what has not begun: the worker is interrupted."""
        held = self._writing.acquire(timeout=INTERRUPTED_SECONDS)
        try:
            self._settle_ended()
        finally:
            if held:
                self._writing.release()
        self.give_back()

    def _note_start(self, running: Running) -> None:
        if self._noted is running.claim:
            return
        with transaction() as session:
            if not begin(session, running.claim, at=running.began_at):
                running.signals.lost = True
        self._noted = running.claim


def _settled_together(successes: Sequence[Success]) -> bool:
    try:
        with transaction() as session:
            if settled := succeed_all(session, successes):
                return settled
            session.rollback()
    except SQLAlchemyError as error:
        log.warning("settle_failed", error=type(error).__name__)
    return False
