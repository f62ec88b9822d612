"""procrastinate on PostgreSQL: two worker processes; a row for each job, as in the ledger."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import procrastinate

from marks import mark
from queues import Queue

DIFFERS = "a row for each job too"
URL = os.environ["POSTGRES_URL"]

app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=URL))


@app.task(name="note")
def note(sent_at: float) -> None:
    """Note that it began."""
    mark(sent_at)


@contextmanager
def queue() -> Iterator[Queue]:
    """One statement for each job, or for many."""
    connector = procrastinate.SyncPsycopgConnector(conninfo=URL)
    with app.replace_connector(connector) as here, here.open():
        here.schema_manager.apply_schema()
        there = here.tasks["note"]

        def send(count: int, together: int) -> None:
            for start in range(0, count, together):
                number = min(together, count - start)
                there.batch_defer(*({"sent_at": time.time()} for _ in range(number)))

        worker = [
            sys.executable,
            "-m",
            "procrastinate",
            "--app",
            "queues.procrastinate_postgres.app",
        ]
        workers = [[*worker, "worker", "--concurrency", "1"]] * 2
        yield Queue(workers=workers, send=send, several=True)
