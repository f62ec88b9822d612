"""The consumer: Huey's own, with the ledger's beat, and the ways in which it ends."""

import logging
import math
import os
import secrets
import signal
import socket
import time
from functools import partial
from types import FrameType
from typing import Any

from huey import Huey
from huey.consumer import BaseProcess, Consumer, Worker

from tasks import tallies
from tasks.periodic import BeatScheduler, say_farewell
from tasks.steering import take_only
from webapp import __version__
from webapp.logs import get_logger
from webapp.places import this_place
from webapp.settings import Settings
from webapp.telemetry.exposition import serve
from webapp.telemetry.folder import begin, folder
from webapp.workers.values import WorkerIdentity

log = get_logger(__name__)

# For so long a worker that was interrupted may take to put its job back, before it is killed.
KILL_SECONDS = 5.0
#: Tells a consumer to end once its running jobs have, however long they take.
END_WHEN_IDLE = signal.SIGUSR1
_JOIN_SECONDS = 0.1
# The scheduler ends by itself a moment after the workers.
_SCHEDULER_SECONDS = 2.0


class LedgerWorker(Worker):
    """Huey's worker, which knows the place of its counts among the others."""

    place = 0

    def initialize(self) -> None:
        """Count from here on, and run the hooks."""
        tallies.tally().take(self.place)
        super().initialize()


class LedgerConsumer(Consumer):
    """Huey's consumer with the ledger's beat in place of Huey's schedule."""

    scheduler_class = BeatScheduler
    worker_class = LedgerWorker

    def __init__(self, huey: Huey, settings: Settings, **options: Any) -> None:
        workers = int(options.get("workers", 1))
        # Set before the workers are forked, so that all of them know whose they are.
        huey.identity = _identity(settings, str(options.get("worker_type", "thread")), workers)
        tallies.begin(workers + 1)
        if (path := folder()) is not None:
            begin(path, me=os.getpid())
        self._metrics_port = settings.metrics_port
        take_only(settings.worker_queues)
        self._leave_logs_to_the_root()
        super().__init__(huey, **options)
        self._signal_actions[END_WHEN_IDLE] = (False, True)
        self._signum: int | None = None
        self._interrupt_at = math.inf
        self._ended = self.environment.get_stop_flag()
        huey.stopping = self.stop_flag.is_set
        huey.ended = self._ended.wait
        huey.end_when_idle = partial(os.kill, os.getpid(), END_WHEN_IDLE)

    def start(self) -> None:
        """Start, ready to be told to end before the first process can tell it."""
        signal.signal(END_WHEN_IDLE, self._handle_signal)
        super().start()
        who: WorkerIdentity = self.huey.identity
        log.info(
            "worker_started",
            worker=who.name,
            kind=who.kind,
            processes=who.processes,
            queues=who.queues or "all",
            scheduler=who.scheduler,
        )
        # Only now: a worker that was forked before it holds no port of ours.
        if self._metrics_port:
            serve(self._metrics_port)

    def _create_process(self, process: BaseProcess, name: str) -> Any:
        if isinstance(process, LedgerWorker):
            process.place = int(name.rpartition("-")[2])
        return super()._create_process(process, name)

    def _handle_signal(self, signum: int, frame: FrameType | None) -> None:
        """Note what is asked; only a signal from outside begins the grace, the first of them."""
        if signum == END_WHEN_IDLE:
            if self._signum is None:
                self._signum, self._restart, self._graceful = signum, False, True
            return
        if self.shutdown_timeout is not None:
            ends = time.monotonic() + self.shutdown_timeout
            self._interrupt_at = min(self._interrupt_at, ends)
        super()._handle_signal(signum, frame)

    def stop(self, graceful: bool = False) -> None:  # noqa: FBT001, FBT002 - Huey's signature
        """Stop the workers; then put back what they still hold, and say farewell.

        Threads cannot be interrupted, and a job may swallow its interrupt: whatever is left after
        the grace is put back from here, in the name of this consumer.
        """
        super().stop(graceful=graceful)
        self._ended.set()
        self._kill_children()
        say_farewell(self.huey.identity.name)
        log.info("worker_stopped", worker=self.huey.identity.name)

    def _join_workers(self) -> bool:
        """Wait for the workers until the grace is over; tell whether all have ended.

        The scheduler shows life meanwhile.  Where nobody but the console has asked, there is no
        grace, until a signal comes after all.
        """
        while (running := self._alive()) and self._graceful:
            if time.monotonic() > self._interrupt_at:
                return False
            running[0].join(_JOIN_SECONDS)
        self._ended.set()
        self.scheduler.join(_SCHEDULER_SECONDS)
        return not running

    def _alive(self) -> list[Any]:
        return [item for _, item in self.worker_threads if self.environment.is_alive(item)]

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
        theirs = logging.getLogger("huey")
        theirs.handlers.clear()
        theirs.setLevel(max(logging.WARNING, logging.getLogger().level))


def _identity(settings: Settings, kind: str, workers: int) -> WorkerIdentity:
    """Return who this is.

    The last part of the name tells two lives of one process id apart, as in a container that was
    started again, and two consumers that were given one name.
    """
    host, pid = socket.gethostname(), os.getpid()
    return WorkerIdentity(
        name=f"{settings.worker_name or host}:{pid}:{secrets.token_hex(2)}",
        place=this_place(),
        host=host,
        pid=pid,
        kind=kind,
        processes=workers,
        version=__version__,
        queues=settings.worker_queues,
        scheduler=settings.worker_scheduler,
    )
