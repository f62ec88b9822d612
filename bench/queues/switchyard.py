"""The console's own jobs: a row in the ledger for each, committed before anybody is told."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from marks import mark
from queues import Queue
from webapp.jobs.registry import JobArguments, Result, job
from webapp.jobs.values import JobContext

DIFFERS = ""
BIN = Path(sys.executable).parent
CONSUMER = "-w 2 -k process -g TERM -t 30 -c 2 -d .05 -m .25 -n"


class Sent(JobArguments):
    """When it was sent."""

    sent_at: float


@job("bench_mark", Sent)
def note(context: JobContext, arguments: Sent) -> Result:
    """Note that it began."""
    del context
    mark(arguments.sent_at)
    return None


@contextmanager
def queue() -> Iterator[Queue]:
    """Enqueue as the web process does, one transaction for each job."""
    from sqlalchemy import create_engine, func, select  # noqa: PLC0415  # workers need it not
    from sqlalchemy.exc import OperationalError  # noqa: PLC0415

    from tasks import application  # noqa: PLC0415
    from webapp.actors import SYSTEM  # noqa: PLC0415
    from webapp.clock import now  # noqa: PLC0415
    from webapp.db import db, engine_options, reading, transaction  # noqa: PLC0415
    from webapp.jobs import service  # noqa: PLC0415
    from webapp.jobs.models import Job  # noqa: PLC0415
    from webapp.jobs.values import JobState  # noqa: PLC0415
    from webapp.jobs.wishes import Wish  # noqa: PLC0415

    def send(count: int, together: int) -> None:
        for start in range(0, count, together):
            with transaction() as session:
                if together == 1:
                    arguments = {"sent_at": time.time()}
                    service.enqueue(session, "bench_mark", arguments, by=SYSTEM, now=now())
                    continue
                number = min(together, count - start)
                wishes = [Wish("bench_mark", {"sent_at": time.time()}) for _ in range(number)]
                service.enqueue_all(session, wishes, by=SYSTEM, now=now())

    def settled() -> int:
        with reading() as session:
            done = select(func.count()).where(Job.state == JobState.SUCCEEDED)
            return session.scalar(done) or 0

    def locked() -> bool:
        try:
            with transaction(briefly):
                return False
        except OperationalError:
            return True

    consumer = [str(BIN / "huey_consumer"), "tasks.huey", *CONSUMER.split()]
    with application().app_context():
        url = db.engine.url
        briefly = create_engine(url, **engine_options(str(url), answer_seconds=0.2))
        one_writer = locked if url.get_backend_name() == "sqlite" else None
        yield Queue(workers=[consumer], send=send, settled=settled, several=True, locked=one_writer)
        briefly.dispose()
