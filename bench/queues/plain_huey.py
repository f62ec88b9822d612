"""Plain Huey on Redis or, without one, on a SQLite file: a killed worker loses what it ran."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huey import RedisHuey, SqliteHuey

from marks import mark
from queues import Queue

DIFFERS = "loses the job of a killed worker"
OPTIONS = "-w 2 -k process -d .05 -m .25 -n -q"

huey = (
    RedisHuey("bench", url=os.environ["REDIS_URL"], results=False)
    if "REDIS_URL" in os.environ
    else SqliteHuey("bench", filename=os.environ["BENCH_FOLDER"] + "/plain.db", results=False)
)
note = huey.task()(mark)


@contextmanager
def queue() -> Iterator[Queue]:
    """One message for each job."""

    def send(count: int, together: int) -> None:
        del together
        for _ in range(count):
            note(time.time())

    program = str(Path(sys.executable).parent / "huey_consumer")
    yield Queue(workers=[[program, "queues.plain_huey.huey", *OPTIONS.split()]], send=send)
