"""Time limits and signs of life of the job that a worker runs."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

from flask import Flask

from webapp.clock import now
from webapp.db import reading, transaction
from webapp.jobs.attempts import look, renew
from webapp.jobs.values import Claim
from webapp.logs import get_logger
from webapp.settings import Settings

log = get_logger(__name__)

TICK_SECONDS = 0.05
LOOK_SECONDS = 1.0
# A heartbeat that was not needed for so many ticks waits until it is.
IDLE_TICKS = 20
IDLE_SECONDS = 5.0
# The alarm rings again, since Python drops what it raises while an object is being deleted.
AGAIN_SECONDS = 5.0
# For so long a job may ignore its limit, before the process that runs it is killed.
KILL_SECONDS = 30.0


class JobTimeout(BaseException):
    """The job ran longer than its type allows.

    Not an ``Exception``: a retry or handler inside the job that took it for a failed call would
    let the job run on.
    """


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise :class:`JobTimeout` in the body after so many seconds.

    Only in the main thread of a process, where a signal can interrupt it; elsewhere a job is told
    when it asks, see ``Heartbeat.overdue``.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise timed_out(seconds)

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def timed_out(seconds: float) -> JobTimeout:
    """Say which limit has passed."""
    return JobTimeout(f"ran longer than {seconds:g} s")


class Signals:
    """What the heartbeat has to tell a job that runs, and the limit that it watches for it.

    ``lost`` is set where another worker holds the job by now, ``cancelled`` where somebody asked it
    to stop, ``overdue`` once its limit (seconds) has passed.
    """

    __slots__ = ("began", "cancelled", "limit", "lost", "overdue")

    def __init__(self) -> None:
        self.lost = self.cancelled = self.overdue = False
        self.limit = float("inf")
        self.began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Return for how long the job has run."""
        return time.monotonic() - self.began


class Held(Protocol):
    """What a worker holds, as its heartbeat sees it."""

    def claims(self) -> list[Claim]:
        """Return every claim whose lease is to be renewed."""

    def running(self) -> tuple[Claim, Signals] | None:
        """Return the job that runs."""

    def tend(self) -> None:
        """Write what should not wait any longer for the job that runs."""

    def drop(self, claim: Claim) -> None:
        """Forget a claim that another worker has taken over."""


class Heartbeat:
    """A thread that renews leases on connections of its own, and reads the flags of what runs.

    It lives as long as the thread that it works for, since most jobs are over before a thread has
    begun.  A database that is away is waited for: the lease decides.
    """

    def __init__(self, app: Flask, *, every: float, lease_seconds: float) -> None:
        self._app = app
        self._every = every
        self._lease_seconds = lease_seconds
        self._held: Held | None = None
        self._renewed = self._looked = 0.0
        self._worker = threading.current_thread()
        self._needed = threading.Event()
        threading.Thread(target=self._run, name="heartbeat", daemon=True).start()

    @contextmanager
    def keeping(self, held: Held) -> Iterator[None]:
        """Keep what this thread's worker holds, in the body."""
        self._renewed = self._looked = time.monotonic()
        self._held = held
        self._needed.set()
        try:
            yield
        finally:
            self._held = None

    def _run(self) -> None:
        idle = 0
        while self._worker.is_alive():
            time.sleep(TICK_SECONDS)
            _end_with_parent()
            if (held := self._held) is not None:
                idle = 0
                self._tick(held)
            elif (idle := idle + 1) > IDLE_TICKS:
                self._needed.clear()
                if self._held is None:
                    self._needed.wait(IDLE_SECONDS)

    def _tick(self, held: Held) -> None:
        self._keep_limit(held)
        moment = time.monotonic()
        renewing = moment - self._renewed >= self._every
        looking = renewing or moment - self._looked >= LOOK_SECONDS
        try:
            with self._app.app_context():
                held.tend()
                if looking:
                    self._beat(held, renewing=renewing)
        except Exception as error:  # noqa: BLE001  # whatever it is, the next beat tries again
            log.warning("heartbeat_failed", error=f"{type(error).__name__}: {error}")
            time.sleep(min(LOOK_SECONDS, self._every))
            return
        if looking:
            self._looked = moment
        if renewing:
            self._renewed = moment

    def _beat(self, held: Held, *, renewing: bool) -> None:
        if renewing and (claims := held.claims()):
            with transaction() as session:
                moment = now()
                lost = [
                    claim
                    for claim in claims
                    if not renew(session, claim, lease_seconds=self._lease_seconds, now=moment)
                ]
            for claim in lost:
                held.drop(claim)
        if (running := held.running()) is None:
            return
        claim, signals = running
        with reading() as session:
            standing = look(session, claim)
        if not standing.held:
            signals.lost = True
        if standing.cancelled:
            signals.cancelled = True

    def _keep_limit(self, held: Held) -> None:
        """Tell a job that its time is over, and kill the process of one that does not listen."""
        if (running := held.running()) is None:
            return
        claim, signals = running
        late = signals.seconds - signals.limit
        if late > 0:
            signals.overdue = True
        if late > KILL_SECONDS and _is_worker_process():
            log.error("job_killed", job_id=claim.job_id, limit=signals.limit)
            os.kill(os.getpid(), signal.SIGKILL)


_mine = threading.local()


def heartbeat_of(app: Flask) -> Heartbeat:
    """Return the heartbeat of this thread, in this process and for this application."""
    settings: Settings = app.extensions["settings"]
    whose = (os.getpid(), app)
    if getattr(_mine, "whose", None) != whose:
        _mine.whose = whose
        _mine.heartbeat = Heartbeat(
            app,
            every=settings.job_heartbeat_seconds,
            lease_seconds=settings.job_lease_seconds,
        )
    heartbeat: Heartbeat = _mine.heartbeat
    return heartbeat


def _is_worker_process() -> bool:
    return multiprocessing.parent_process() is not None


def _end_with_parent() -> None:
    """Die with the consumer: a worker process that outlives it is supervised by nobody."""
    parent = multiprocessing.parent_process()
    if parent is not None and os.getppid() != parent.pid:
        os.kill(os.getpid(), signal.SIGKILL)
