"""Celery on Redis with two processes that acknowledge late, so that a killed one loses nothing."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from celery import Celery

from marks import mark
from queues import Queue

DIFFERS = "acks_late; redelivers after an hour"

app = Celery("bench", broker=os.environ["REDIS_URL"])
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
)
note = app.task(name="note")(mark)


@contextmanager
def queue() -> Iterator[Queue]:
    """One message for each job."""

    def send(count: int, together: int) -> None:
        del together
        for _ in range(count):
            note.delay(time.time())

    options = ["worker", "--concurrency", "2", "--loglevel", "WARNING"]
    yield Queue(
        workers=[[sys.executable, "-m", "celery", "-A", "queues.celery_late", *options]], send=send
    )
