"""The one Huey task: look at a job, claim it and what waits beside it, and have them run.

A message is only a reason to look: the ledger says what is to be done.
"""

import threading
import time
from collections.abc import Callable

from flask import Flask
from sqlalchemy.orm import Session

from tasks.runner import paces, run_turn
from tasks.steering import steering_of
from webapp.clock import now
from webapp.db import reading, transaction
from webapp.jobs import attempts
from webapp.jobs.choice import Paces
from webapp.jobs.steering import Steering
from webapp.jobs.turns import Batch, Look, claim_next, look_at, next_queue
from webapp.settings import Settings

#: A worker that gets a message for every job of a stream looks no more often than this.
LOOK_EVERY_SECONDS = 0.03
#: Workers that look at the same jobs at the same moment get out of each other's way.
CLAIM_TRIES = 5
CLAIM_WAIT_SECONDS = 0.005
#: So long a worker stays with one queue, if another one waits too.
SPELL_SECONDS = 0.5


def run(app: Flask, job_id: int, *, worker: str, early: bool = False) -> bool:
    """Look at one job: run it if it is due and nobody else has it.  Tell whether it was run."""
    settings: Settings = app.extensions["settings"]
    with app.app_context():
        with transaction() as session:
            claim = attempts.claim(
                session,
                job_id,
                worker=worker,
                lease_seconds=settings.job_lease_seconds,
                now=now(),
                early=early,
                steering=steering_of(app),
            )
        if claim is None:
            return False
        run_turn(app, [claim], stopping=_never)
    return True


def work(app: Flask, job_id: int, *, worker: str, stopping: Callable[[], bool]) -> None:
    """Look at one job, and run whatever else is queued where it is, the most urgent first.

    Where that is so much that other queues have to wait, they take turns.

    So a message that comes late, twice or not at all costs nothing, and a backlog needs no message
    for each of its jobs.  Returns where nothing is left, or the worker is told to stop.
    """
    _let_jobs_gather()
    with app.app_context():
        look, batch = _claim_first(app, job_id, worker, steering_of(app))
        if look is not None and look.waits and look.type not in paces():
            run(app, job_id, worker=worker)
        tries, queue, spell_began = 0, look.queue if look else "", time.monotonic()
        while look is not None and (batch.claims or batch.more):
            if batch.claims:
                tries = 0
                run_turn(app, batch.claims, stopping=stopping)
            elif tries < CLAIM_TRIES:
                # Another worker looks at the same ones; what it leaves is free in a moment.
                tries += 1
                time.sleep(CLAIM_WAIT_SECONDS)
            else:
                return
            if not batch.more or stopping():
                return
            steering = steering_of(app)
            if time.monotonic() - spell_began > SPELL_SECONDS:
                queue, spell_began = _queue_after(queue, steering), time.monotonic()
            with transaction() as session:
                batch = _claim(app, session, queue, worker, steering)


def _queue_after(queue: str, steering: Steering) -> str:
    with reading() as session:
        return next_queue(session, queue, steering=steering) or queue


_looked = threading.local()


def _let_jobs_gather() -> None:
    """Wait a moment where this worker has only just looked: its next batch is then a larger one.

    An idle worker looks at once, and so does one whose last job was no quick one.
    """
    seconds = _looked.at + LOOK_EVERY_SECONDS - time.monotonic() if hasattr(_looked, "at") else 0.0
    if seconds > 0:
        time.sleep(seconds)
    _looked.at = time.monotonic()


def _claim_first(
    app: Flask, job_id: int, worker: str, steering: Steering
) -> tuple[Look | None, Batch]:
    """Look at a message, and claim what is to be run where its job is."""
    with transaction() as session:
        look = look_at(session, job_id)
        if look is None:
            return None, Batch([], more=False)
        return look, _claim(app, session, look.queue, worker, steering)


def _claim(app: Flask, session: Session, queue: str, worker: str, steering: Steering) -> Batch:
    settings: Settings = app.extensions["settings"]
    if not steering.serves(queue):
        return Batch([], more=False)
    return claim_next(
        session,
        queue,
        paces=_to_begin(steering),
        worker=worker,
        lease_seconds=settings.job_lease_seconds,
        now=now(),
    )


def _to_begin(steering: Steering) -> Paces:
    return {name: pace for name, pace in paces().items() if name not in steering.paused_types}


def _never() -> bool:
    return False
