"""The Huey objects, built from settings: storage, serializer, consumer and the broker port.

A message is only ever "look at job N now".  Nothing durable is left to Huey: no retries, results,
schedule or locks, since a kill at the wrong moment loses what it holds.
"""

import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

from huey import Huey, PriorityRedisHuey, SqliteHuey
from huey.api import Task, TaskWrapper
from huey.registry import Message
from huey.storage import SqliteStorage
from redis import ConnectionPool
from redis.backoff import NoBackoff
from redis.retry import Retry

from tasks.consumer import LedgerConsumer
from webapp.jobs.broker import Broker
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


class LedgerHuey:
    """What every Huey object of ours adds: the consumer, and what its workers know of it."""

    settings: Settings
    identity: WorkerIdentity
    #: Whether the consumer was told to stop.
    stopping: Callable[[], bool]
    #: Whether its workers have ended; waits so many seconds for it.
    ended: Callable[[float], bool]
    #: Tells the consumer to end once its running jobs have.
    end_when_idle: Callable[[], None]
    #: The messages of a consumer that takes jobs from some queues only.
    own_broker: Broker | None = None

    def create_consumer(self, **options: Any) -> LedgerConsumer:
        """Build the consumer that ``huey_consumer`` runs."""
        return LedgerConsumer(self, self.settings, **options)

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


def build_huey(
    settings: Settings,
    *,
    queues: Sequence[str] = (),
    answer_seconds: float = REDIS_WAIT_SECONDS,
) -> Huey:
    """Return the Huey object that these settings ask for.

    ``queues`` are those of a consumer that takes no others: it has messages of its own, see
    ``docs/adr/0006-queues.md``.  ``answer_seconds`` is how long Redis may take to answer.
    """
    name = ":".join((QUEUE_NAME, ",".join(sorted(queues)))) if queues else QUEUE_NAME
    huey = _build(settings, name, answer_seconds)
    huey.settings = settings
    return huey


def _build(settings: Settings, name: str, answer_seconds: float) -> Huey:
    options: dict[str, Any] = {"results": False, "serializer": JsonSerializer()}
    if settings.queue_backend == "redis":
        pool = ConnectionPool.from_url(
            settings.redis_url,
            socket_connect_timeout=REDIS_CONNECT_SECONDS,
            socket_timeout=answer_seconds,
            retry=Retry(NoBackoff(), 0),
        )
        return LedgerRedisHuey(name, connection_pool=pool, **options)
    immediate = not settings.has_workers
    return LedgerSqliteHuey(name, filename=str(settings.queue_path), immediate=immediate, **options)


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
