"""RQ with a pool of two workers, each of which forks for each job, as it does by default."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redis import Redis
from rq import Queue as RqQueue

from marks import mark
from queues import Queue

DIFFERS = "a process for each job"


@contextmanager
def queue() -> Iterator[Queue]:
    """One message for each job, its result dropped."""
    url = os.environ["REDIS_URL"]
    there = RqQueue("bench", connection=Redis.from_url(url))

    def send(count: int, together: int) -> None:
        del together
        for _ in range(count):
            there.enqueue(mark, time.time(), result_ttl=0)

    program = str(Path(sys.executable).parent / "rq")
    pool = [program, "worker-pool", "bench", "-n", "2", "--url", url, "--logging-level", "WARNING"]
    yield Queue(workers=[pool], send=send)
