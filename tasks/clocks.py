"""Time limits and signs of life of the job that a worker runs."""

import os
import signal
import threading
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


class JobTimeout(BaseException):
    """The job ran longer than its type allows.

    Not an ``Exception``: the alarm rings once, and a retry or handler inside the job that took it
    for a failed call would let the job run on for ever.
    """


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise :class:`JobTimeout` in the body after so many seconds.

    Only in the main thread of a process, where a signal can interrupt it; elsewhere the limit is
    the job's own to keep.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        del number, frame
        message = f"ran longer than {seconds:g} s"
        raise JobTimeout(message)

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Heartbeat:
    """A thread that renews the lease of one job on connections of its own, and reads its flags.

    ``lost`` is set where another worker holds the job by now, ``cancelled`` where somebody asked it
    to stop.  A database that is away is waited for: the lease decides in the end.
    """

    def __init__(self, app: Flask, claim: Claim, *, every: float, lease_seconds: float) -> None:
        self.lost = threading.Event()
        self.cancelled = threading.Event()
        self._app = app
        self._claim = claim
        self._every = every
        self._lease_seconds = lease_seconds
        self._done = threading.Event()
        self._parent = os.getppid()
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
            self._end_with_parent()
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

    def _end_with_parent(self) -> None:
        """Die with the consumer: a worker that outlives it is supervised by nobody."""
        if os.getppid() != self._parent:
            os.kill(os.getpid(), signal.SIGKILL)
