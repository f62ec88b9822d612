"""The vocabulary of workers."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

#: A worker that was silent for so long is counted as gone.
GONE_AFTER = timedelta(seconds=60)


class WorkerState(StrEnum):
    """How a consumer process stands; stopping is one that was asked to end, and has yet to."""

    ALIVE = "alive"
    STOPPING = "stopping"
    STOPPED = "stopped"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class WorkerIdentity:
    """Which consumer process this is; ``kind`` is process, thread or greenlet.

    It takes jobs from ``queues``, or from all where there are none; one with a ``scheduler`` fires
    schedules and puts back what was lost, for all.

    ``place`` names the space of process ids that ``pid`` belongs to: one running system, and one
    container in it.
    """

    name: str
    place: str
    host: str
    pid: int
    kind: str
    processes: int
    version: str
    queues: tuple[str, ...] = ()
    scheduler: bool = True


@dataclass(frozen=True, slots=True)
class WorkerFigures:
    """What a consumer process has done since its start, and what it takes.

    ``done`` counts jobs that succeeded, ``failed`` attempts that did not; ``memory_bytes`` is None
    where the system does not tell.
    """

    done: int = 0
    failed: int = 0
    memory_bytes: int | None = None
