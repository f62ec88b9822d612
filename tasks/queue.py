"""The Huey objects, built from settings: storage, serializer, consumer and the broker port.

A message is only ever "look at job N now".  Nothing durable is left to Huey: no retries, results,
schedule or locks, since a kill at the wrong moment loses what it holds.
"""

import json
import logging
import os
import secrets
import socket
import sqlite3
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from huey import Huey, PriorityRedisHuey, SqliteHuey
from huey.api import Task, TaskWrapper
from huey.consumer import Consumer
from huey.registry import Message
from huey.storage import SqliteStorage
from redis import ConnectionPool
from redis.backoff import NoBackoff
from redis.retry import Retry

from tasks.periodic import BeatScheduler, say_farewell
from tasks.places import this_place
from webapp import __version__
from webapp.logs import get_logger
from webapp.settings import Settings
from webapp.workers.values import WorkerIdentity

log = get_logger(__name__)

QUEUE_NAME = "switchyard"
# A broker that is away must be noticed in a moment: the ledger keeps the job meanwhile.
REDIS_CONNECT_SECONDS = 0.5
# Longer than the second for which an idle worker waits for a message.
REDIS_WAIT_SECONDS = 3.0
# Whoever only sends is answered at once, or the job is sent later.
REDIS_SEND_SECONDS = 0.5
# For so long a worker that was interrupted may take to put its job back, before it is killed.
KILL_SECONDS = 5.0
# More attempts and deferrals than any policy allows; no job may hold its caller for ever.
MOST_RUNS = 200


class JsonSerializer:
    """Messages as JSON: whoever can write to the broker must not be able to run code, as with
    Huey's own pickles.
    """

    def serialize(self, message: Message) -> bytes:
        """Return the fields that are set; an ETA or expiry is never among them."""
        fields = {name: value for name, value in message._asdict().items() if value is not None}
        return json.dumps(fields).encode()

    def deserialize(self, data: bytes) -> Message:
        """Read a message back; unknown fields are a newer version's and are left out."""
        fields = json.loads(bytes(data))
        return Message(**{name: fields[name] for name in Message._fields if name in fields})


class LedgerConsumer(Consumer):
    """Huey's consumer with the ledger's beat in place of Huey's schedule."""

    scheduler_class = BeatScheduler

    def __init__(self, huey: Huey, **options: Any) -> None:
        host, pid = socket.gethostname(), os.getpid()
        # Set before the workers are forked, so that all of them know whose they are.  The last
        # part tells two lives of one process id apart, as in a container that was restarted.
        huey.identity = WorkerIdentity(
            name=f"{host}:{pid}:{secrets.token_hex(2)}",
            place=this_place(),
            host=host,
            pid=pid,
            kind=str(options.get("worker_type", "thread")),
            processes=int(options.get("workers", 1)),
            version=__version__,
        )
        self._leave_logs_to_the_root()
        super().__init__(huey, **options)
        huey.stopping = self.stop_flag.is_set

    def stop(self, graceful: bool = False) -> None:  # noqa: FBT001, FBT002 - Huey's signature
        """Stop the workers; then put back what they still hold, and say farewell.

        Threads cannot be interrupted, and a job may swallow its interrupt: whatever is left after
        the grace is put back from here, in the name of this consumer.
        """
        super().stop(graceful=graceful)
        self._kill_children()
        say_farewell(self.huey.identity.name)

    def _kill_children(self) -> None:
        if not self.environment.forks:
            return
        deadline = time.monotonic() + KILL_SECONDS
        for _, process in self.worker_threads:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()

    @staticmethod
    def _leave_logs_to_the_root() -> None:
        """Drop the handler that ``huey_consumer`` adds: each line would be written twice."""
        log = logging.getLogger("huey")
        log.handlers.clear()
        log.setLevel(logging.WARNING)


class LedgerHuey:
    """What every Huey object of ours adds: the consumer, and what its workers know of it."""

    identity: WorkerIdentity
    #: Whether the consumer was told to stop.
    stopping: Callable[[], bool]

    def create_consumer(self, **options: Any) -> LedgerConsumer:
        """Build the consumer that ``huey_consumer`` runs."""
        return LedgerConsumer(self, **options)

    def execute(self, task: Task, timestamp: datetime | None = None) -> None:
        """Run the task, and nothing of what Huey does around it.

        Its revocations, results, hooks and retries are not used, yet asking for them costs each
        message three turns to the storage.
        """
        del timestamp
        try:
            task.execute()
        except KeyboardInterrupt:
            log.warning("look_interrupted")


class HintStorage(SqliteStorage):
    """Huey's SQLite file, whose writes do not wait for the disk.

    What a machine's crash takes from it the ledger sends again; the file stays whole.
    """

    def _create_connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection = super()._create_connection()
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection


class LedgerSqliteHuey(LedgerHuey, SqliteHuey):
    """The embedded queue, in a file of its own."""

    storage_class = HintStorage


class LedgerRedisHuey(LedgerHuey, PriorityRedisHuey):
    """The queue in Redis, with priorities."""


def build_huey(settings: Settings, *, answer_seconds: float = REDIS_WAIT_SECONDS) -> Huey:
    """Return the Huey object that these settings ask for.

    ``answer_seconds`` is how long Redis may take to answer.
    """
    options: dict[str, Any] = {"results": False, "serializer": JsonSerializer()}
    if settings.queue_backend == "redis":
        pool = ConnectionPool.from_url(
            settings.redis_url,
            socket_connect_timeout=REDIS_CONNECT_SECONDS,
            socket_timeout=answer_seconds,
            retry=Retry(NoBackoff(), 0),
        )
        return LedgerRedisHuey(QUEUE_NAME, connection_pool=pool, **options)
    immediate = settings.queue_backend == "immediate"
    return LedgerSqliteHuey(
        QUEUE_NAME, filename=str(settings.queue_path), immediate=immediate, **options
    )


class CallerBroker:
    """Runs each job in the process that enqueues it, its retries at once: no queue, no waiting.

    There is no consumer either, so ``catch_up`` is called each time: it puts back what a process
    that was killed has left, and returns the jobs that have come due.  Nothing here raises: the
    job stands, and the caller's own work is done.
    """

    def __init__(
        self, run_early: Callable[[int], bool], catch_up: Callable[[], Iterable[int]]
    ) -> None:
        self._run_early = run_early
        self._catch_up = catch_up

    def send(self, job_id: int, priority: int) -> None:
        """Run the job until it has ended, and whatever else is due."""
        del priority
        try:
            self._run(job_id)
            # Only now, since the job's end may have made another due.
            for due in self._catch_up():
                self._run(due)
        except Exception:
            log.exception("job_not_run", job_id=job_id)

    def _run(self, job_id: int) -> None:
        for _ in range(MOST_RUNS):
            if not self._run_early(job_id):
                return

    def size(self) -> int:
        """Return 0: nothing ever waits."""
        return 0

    def waiting(self) -> set[int]:
        """Return nothing, for the same reason."""
        return set()

    def ping(self) -> None:
        """Return: the caller is always there."""


class HueyBroker:
    """The port to the queue, over one Huey task that takes a job's id."""

    def __init__(self, huey: Huey, run_job: TaskWrapper) -> None:
        self._huey = huey
        self._run_job = run_job

    def send(self, job_id: int, priority: int) -> None:
        """Tell some worker to look at this job."""
        self._huey.enqueue(self._run_job.task_class((job_id,), {}, priority=priority))

    def size(self) -> int:
        """Return the number of messages that wait."""
        return int(self._huey.storage.queue_size())

    def waiting(self) -> set[int]:
        """Return the jobs whose messages wait."""
        return {int(task.args[0]) for task in self._huey.pending()}

    def ping(self) -> None:
        """Return if the queue answers."""
        self.size()
