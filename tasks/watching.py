"""What the web process does where no worker judges alerts: then it judges, and tells, itself.

Else nobody would ever learn that no worker is alive.
"""

import os
import socket
import threading
from datetime import datetime, timedelta
from typing import Final

from flask import Flask

from tasks.alerts import evaluate_alerts
from tasks.work import run
from webapp.alerts.service import last_evaluation
from webapp.clock import now
from webapp.db import clock_difference, reading
from webapp.jobs.lifecycle import WAITING
from webapp.jobs.service import states_of
from webapp.logs import get_logger
from webapp.workers.service import last_beat
from webapp.workers.values import GONE_AFTER

log = get_logger(__name__)

LOOK_EVERY_SECONDS: Final = 15.0
#: A worker that starts again, or another one, has judged by then.
OVERDUE: Final = timedelta(seconds=150)


class Watch:
    """Looks whether workers judge, and does it where they do not.

    ``since`` is when it began to look: what nobody did before is nobody's fault.
    """

    def __init__(self, app: Flask, *, since: datetime) -> None:
        self._app = app
        self._since = since
        self._name = f"web:{socket.gethostname()}:{os.getpid()}"
        self._untold: set[int] = set()

    def look(self, moment: datetime) -> None:
        """Judge where that is overdue; where no worker is alive, send what there is to tell.

        ``moment`` is by the clock that all processes share.
        """
        with self._app.app_context():
            with reading() as session:
                evaluated_at = last_evaluation(session)
                beat_at = last_beat(session)
            if moment - max(evaluated_at or self._since, self._since) > OVERDUE:
                log.warning("alerts_judged_by_web", evaluated_at=evaluated_at)
                done = evaluate_alerts(self._app, moment)
                self._untold |= set(done.jobs) if done else set()
            if beat_at is not None and moment - beat_at < GONE_AFTER:
                self._untold.clear()
            self._send()

    def _send(self) -> None:
        """Run the jobs that tell people, those that failed again once they are due."""
        for job_id in sorted(self._untold):
            run(self._app, job_id, worker=self._name)
        if self._untold:
            with reading() as session:
                states = states_of(session, sorted(self._untold))
            self._untold = {job_id for job_id, state in states.items() if state in WAITING}


def begin_watch(app: Flask) -> None:
    """Look for as long as this process lives, by a thread."""
    threading.Thread(target=_watch, args=(app,), name="alert-watch", daemon=True).start()


def _watch(app: Flask) -> None:
    watch, wake = Watch(app, since=now()), threading.Event()
    while not wake.wait(LOOK_EVERY_SECONDS):
        try:
            with app.app_context(), reading() as session:
                ahead = clock_difference(session, now=now())
            watch.look(now() - timedelta(seconds=ahead))
        except Exception as error:  # noqa: BLE001  # it must outlive any outage
            log.warning("alert_watch_failed", error=type(error).__name__)
