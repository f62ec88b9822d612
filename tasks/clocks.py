"""Time limits and signs of life of the job that a worker runs."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Self

from flask import Flask

from webapp.clock import now
from webapp.db import reading, transaction
from webapp.jobs.attempts import look, renew
from webapp.jobs.values import Claim
from webapp.logs import get_logger

log = get_logger(__name__)

LOOK_SECONDS = 1.0
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


class Heartbeat:
    """A thread that renews the lease of one job on connections of its own, and reads its flags.

    ``lost`` is set where another worker holds the job by now, ``cancelled`` where somebody asked it
    to stop, ``overdue`` once its limit has passed.  A database that is away is waited for: the
    lease decides in the end.
    """

    def __init__(self, app: Flask, claim: Claim, *, every: float, lease_seconds: float) -> None:
        self.lost = threading.Event()
        self.cancelled = threading.Event()
        self.overdue = threading.Event()
        self.limit = float("inf")
        self._app = app
        self._claim = claim
        self._every = every
        self._lease_seconds = lease_seconds
        self._began = time.monotonic()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()

    def _run(self) -> None:
        waited = 0.0
        pause = min(LOOK_SECONDS, self._every)
        while not self._done.wait(pause):
            _end_with_parent()
            self._keep_limit()
            waited += pause
            try:
                with self._app.app_context():
                    self._beat(renewing=waited >= self._every)
            except Exception as error:  # noqa: BLE001  # whatever it is, the next beat tries again
                log.warning("heartbeat_failed", error=f"{type(error).__name__}: {error}")
            else:
                waited = 0.0 if waited >= self._every else waited

    def _beat(self, *, renewing: bool) -> None:
        if renewing:
            with transaction() as session:
                held = renew(session, self._claim, lease_seconds=self._lease_seconds, now=now())
            if not held:
                self.lost.set()
        with reading() as session:
            standing = look(session, self._claim)
        if not standing.held:
            self.lost.set()
        if standing.cancelled:
            self.cancelled.set()

    def _keep_limit(self) -> None:
        """Tell a job that its time is over, and kill the process of one that does not listen."""
        late = time.monotonic() - self._began - self.limit
        if late > 0:
            self.overdue.set()
        if late > KILL_SECONDS and _is_worker_process():
            log.error("job_killed", job_id=self._claim.job_id, limit=self.limit)
            os.kill(os.getpid(), signal.SIGKILL)


def _is_worker_process() -> bool:
    return multiprocessing.parent_process() is not None


def _end_with_parent() -> None:
    """Die with the consumer: a worker process that outlives it is supervised by nobody."""
    parent = multiprocessing.parent_process()
    if parent is not None and os.getppid() != parent.pid:
        os.kill(os.getpid(), signal.SIGKILL)
