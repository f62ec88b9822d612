"""Every periodic beat on one screen, and the scheduler that beats.

Each consumer beats once a second; however many there are, each effect happens once, since every
write is conditional.
"""

import ctypes
import gc
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from flask import Flask
from huey.consumer import Scheduler

from tasks.alerts import evaluate_alerts
from tasks.application import application
from tasks.callback import tell_ends
from tasks.figures import roll_up_figures
from tasks.flags import check_guards, step_rollouts
from tasks.memory import memory_of
from tasks.steering import steering_of
from tasks.tallies import tally
from webapp.accounts.token_publishing import keep_tokens_published
from webapp.clock import now
from webapp.db import clock_difference, db, reading, transaction
from webapp.dead_letters.service import write
from webapp.dead_letters.values import Cause, Reason
from webapp.flags.collecting import UsageCollector
from webapp.jobs.attempts import LOST
from webapp.jobs.broker import WINDOW, Broker, current_broker
from webapp.jobs.dispatch import (
    Due,
    anything_due,
    anything_left,
    anything_lost,
    end_leases,
    hold_leases,
    mark_due,
    release_all,
    settle_lost,
    unmark,
)
from webapp.jobs.realignment import realign as realign_jobs
from webapp.jobs.upkeep import anything_to_keep_up, expire, finish_batches, release_held
from webapp.logs import get_logger
from webapp.places import process_exists
from webapp.schedules.firing import due_schedules, fire, realign
from webapp.settings import Settings
from webapp.workers.service import beat, farewell, neighbours
from webapp.workers.values import WorkerFigures, WorkerIdentity

log = get_logger(__name__)

WORKER_BEAT_SECONDS = 10.0
# A clock that moved by more than this, beside the time that passed, was set.
CLOCK_STEP = timedelta(seconds=2)
# Jobs that one enqueue runs besides its own, where there is no queue.
CALLER_ROOM = 10
_PR_SET_PDEATHSIG = 1

Step = Callable[[Flask], None]


class BeatScheduler(Scheduler):
    """Runs the ledger's beats where Huey would run its own schedule, which stays empty."""

    def initialize(self) -> None:
        """Start with connections of our own, and end with the consumer."""
        prepare_child()
        self._last_sign = float("-inf")
        self._told_to_end = False
        self._ahead = 0.0
        self._last_look: tuple[datetime, float] | None = None

    def loop(self, now: object = None) -> None:
        """Beat once; whatever goes wrong is logged, and the next beat tries again."""
        del now
        started = time.monotonic()
        app = application()
        with app.app_context():
            for step in self._steps(app):
                self._take(step, app)
        self.sleep_for_interval(started, self.interval)

    def _steps(self, app: Flask) -> tuple[Step, ...]:
        """Return what this consumer's beat does: all of it, or what its own jobs need."""
        settings: Settings = app.extensions["settings"]
        for_all: tuple[Step, ...] = (
            self._notice_dead,
            self._rescue,
            self._fire_schedules,
            self._keep_up,
            tell_ends,
            self._roll_up,
            # A step that is due waits for the guards of its minute; alerts hear what they did.
            self._check_guards,
            self._step_rollouts,
            self._evaluate_alerts,
            publish_tokens,
            collect_usage,
        )
        return (
            self._show_life,
            *(for_all if settings.worker_scheduler else ()),
            self._dispatch,
            *((self._end_where_nothing_is_due,) if settings.worker_burst else ()),
        )

    @staticmethod
    def _take(step: Step, app: Flask) -> None:
        try:
            step(app)
        except Exception as error:  # noqa: BLE001  # a beat must outlive any outage
            log.warning("beat_failed", beat=step.__name__, error=f"{type(error).__name__}: {error}")

    def shutdown(self) -> None:
        """Go on showing life until the last running job has ended."""
        app = application()
        while not self.huey.ended(self.interval):
            with app.app_context():
                self._take(self._show_life, app)

    @property
    def _identity(self) -> WorkerIdentity:
        identity: WorkerIdentity = self.huey.identity
        return identity

    def _show_life(self, app: Flask) -> None:
        del app
        if time.monotonic() - self._last_sign < WORKER_BEAT_SECONDS:
            return
        done, failed = tally().sums()
        figures = WorkerFigures(done, failed, memory_of(self._identity.pid))
        with transaction() as session:
            asked = beat(session, self._identity, figures, now=now())
            self._ahead = clock_difference(session, now=now())
        self._last_sign = time.monotonic()
        if asked:
            self._end("worker_stop_requested")

    def _end(self, reason: str) -> None:
        """End in good order, once: running jobs finish, however long they take."""
        if not self._told_to_end:
            log.info(reason, worker=self._identity.name)
            self._told_to_end = True
            self.huey.end_when_idle()

    def _dispatch(self, app: Flask) -> None:
        """Hand over what is due: to all workers, or to this consumer's own where it takes some."""
        # By the database's clock, or by this machine's where that has dated its retries ahead.
        moment = max(now(), self._shared_now())
        dispatch_due(app, self.huey.own_broker or current_broker(), moment)

    def _end_where_nothing_is_due(self, app: Flask) -> None:
        with reading() as session:
            left = anything_left(session, self._identity.name, now=now(), steering=steering_of(app))
        if not left:
            self._end("nothing_is_due")

    def _rescue(self, app: Flask) -> None:
        """Rescue lost jobs, unless this machine's clock is off.

        Leases are times: a clock that is ahead would end those of workers that are alive.
        """
        settings: Settings = app.extensions["settings"]
        if abs(self._ahead) > settings.job_lease_seconds / 4:
            log.error("clock_differs_from_database", seconds_ahead=round(self._ahead, 1))
            return
        rescue_lost(app)

    def _notice_dead(self, app: Flask) -> None:
        """End the leases of consumers of this machine whose process is gone.

        A consumer that was killed and started again then goes on at once, instead of after the
        lease.  Machines and containers cannot see each other's processes, so ``place`` keeps them
        apart; for those the lease decides.
        """
        del app
        with reading() as session:
            others = neighbours(session, self._identity.place, now=now())
            dead = [name for name, pid in others.items() if not process_exists(pid)]
            if not (dead and hold_leases(session, dead, now=now())):
                return
        with transaction() as session:
            if end_leases(session, dead, now=now()):
                log.warning("workers_gone", workers=dead)

    def _fire_schedules(self, app: Flask) -> None:
        """Fire what is due by the database's clock, which all consumers share."""
        look = now(), time.monotonic()
        if self._last_look is None or was_set(self._last_look, look):
            with transaction() as session:
                self._ahead = clock_difference(session, now=now())
                if moved := realign(session, now=self._shared_now()):
                    log.warning("schedules_realigned", schedules=moved)
                lease_seconds = app.extensions["settings"].job_lease_seconds
                if moved := realign_jobs(
                    session, lease_seconds=lease_seconds, now=self._shared_now()
                ):
                    log.warning("jobs_realigned", jobs=moved)
        self._last_look = look
        fire_schedules(self._shared_now())

    def _keep_up(self, app: Flask) -> None:
        keep_up_ledger(app, self._shared_now())

    def _roll_up(self, app: Flask) -> None:
        roll_up_figures(app, self._shared_now())

    def _check_guards(self, app: Flask) -> None:
        check_guards(app, self._shared_now())

    def _step_rollouts(self, app: Flask) -> None:
        del app
        step_rollouts(self._shared_now())

    def _evaluate_alerts(self, app: Flask) -> None:
        evaluate_alerts(app, self._shared_now())

    def _shared_now(self) -> datetime:
        """Return the time by the database's clock: what is due is not for one machine to say."""
        return now() - timedelta(seconds=self._ahead)


def was_set(before: tuple[datetime, float], after: tuple[datetime, float]) -> bool:
    """Tell whether the clock moved otherwise than time passed between two looks at both."""
    passed = timedelta(seconds=after[1] - before[1])
    return abs(after[0] - before[0] - passed) > CLOCK_STEP


def rescue_lost(app: Flask) -> None:
    """Put back the jobs whose workers fell silent, and bury those that were lost too often."""
    settings: Settings = app.extensions["settings"]
    with reading() as session:
        if not anything_lost(session, now=now()):
            return
    with transaction() as session:
        for lost in settle_lost(session, max_losses=settings.job_max_losses, now=now()):
            log.warning("job_lost", job_id=lost.job_id, losses=lost.losses, buried=lost.buried)
            if lost.buried:
                write(session, lost.job_id, _LOST_CAUSE, now=now())


_LOST_CAUSE = Cause(
    reason=Reason.WORKER_LOST,
    error_class="bug",
    exception_type="WorkerLost",
    message=LOST,
    traceback="",
)


def keep_up_ledger(app: Flask, moment: datetime) -> None:
    """Cancel what has expired, let go what waited for other jobs, and end batches."""
    del app
    with reading() as session:
        if not anything_to_keep_up(session, now=moment):
            return
    with transaction() as session:
        if expired := expire(session, now=moment):
            log.info("jobs_expired", jobs=expired)
        release_held(session, now=moment)
        if finished := finish_batches(session, now=moment):
            log.info("batches_finished", batches=finished)


def dispatch_due(app: Flask, broker: Broker | None, moment: datetime) -> None:
    """Hand due jobs to the broker, as many as its window has room for."""
    steering = steering_of(app)
    if broker is None:
        return
    with reading() as session:
        if not anything_due(session, now=moment, steering=steering):
            return
    waiting = broker.waiting()
    with transaction() as session:
        room = max(0, WINDOW - len(waiting))
        due = mark_due(session, room=room, waiting=waiting, now=moment, steering=steering)
    sent = 0
    try:
        for item in due:
            broker.send(item.job_id, item.priority)
            sent += 1
    finally:
        _take_back(due[sent:])


def fire_schedules(moment: datetime) -> None:
    """Fire the schedules that are due, each in a transaction of its own: none holds up another."""
    with reading() as session:
        due = due_schedules(session, now=moment)
    for schedule_id in due:
        try:
            with transaction() as session:
                firing = fire(session, schedule_id, now=moment)
        except Exception as error:  # noqa: BLE001  # a later beat tries again
            log.warning("schedule_not_fired", schedule_id=schedule_id, error=type(error).__name__)
            continue
        if firing is not None:
            log.info(
                "schedule_fired",
                schedule_id=schedule_id,
                outcome=firing.outcome,
                job_id=firing.job_id,
                passed=firing.passed,
            )


def _take_back(unsent: list[Due]) -> None:
    if unsent:
        with transaction() as session:
            unmark(session, unsent)


def publish_tokens(app: Flask) -> None:
    """Keep Redis told of all good tokens, by a thread: the ledger's beats do not wait for Redis."""
    del app
    keep_tokens_published()


def collect_usage(app: Flask) -> None:
    """Keep taking what edges counted, by a thread, as above."""
    collector: UsageCollector | None = app.extensions.get("usage_collector")
    if collector is not None:
        collector.keep_collecting()


def due_now(app: Flask) -> list[int]:
    """Return the jobs that are due, marked as sent, for a set-up that has no queue."""
    with transaction() as session:
        due = mark_due(session, room=CALLER_ROOM, waiting=(), now=now(), steering=steering_of(app))
    return [item.job_id for item in due]


def say_farewell(worker: str) -> None:
    """Put back what a stopping consumer still holds, and let the console tell a stop from a crash.

    Called in its main process, once its workers have ended or cannot be waited for any longer.
    """
    with application().app_context():
        try:
            with transaction() as session:
                if left := release_all(session, worker, now=now()):
                    log.warning("jobs_put_back", jobs=left)
                farewell(session, worker, now=now(), figures=WorkerFigures(*tally().sums()))
        except Exception as error:  # noqa: BLE001  # nothing may hold up the end; leases run out
            log.warning("farewell_failed", error=type(error).__name__)


def prepare_child() -> None:
    """Make a forked child safe: no connection shared with the parent, no life after it.

    In children and in threads what was imported is taken out of the garbage collector's sight: its
    rounds through all of it cost a job that makes many objects a tenth of its time.
    """
    gc.freeze()
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    if sys.platform == "linux":
        # A killed consumer would leave its children working and beating for ever.
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent.pid:
            # It died before the kernel was told to tell.
            os._exit(1)
    app = application()
    with app.app_context():
        db.engine.dispose(close=False)
