"""Dramatiq on Redis with two processes; it acknowledges late by itself."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from marks import mark
from queues import Queue

DIFFERS = "redelivers after a minute"

dramatiq.set_broker(RedisBroker(url=os.environ["REDIS_URL"]))
note = dramatiq.actor(mark, actor_name="note")


@contextmanager
def queue() -> Iterator[Queue]:
    """One message for each job."""

    def send(count: int, together: int) -> None:
        del together
        for _ in range(count):
            note.send(time.time())

    options = ["--processes", "2", "--threads", "1"]
    yield Queue(
        workers=[[sys.executable, "-m", "dramatiq", "queues.dramatiq_redis", *options]], send=send
    )
