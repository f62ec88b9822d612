"""The vocabulary of workers."""

from dataclasses import dataclass
from datetime import timedelta

#: A worker that was silent for so long is counted as gone.
GONE_AFTER = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class WorkerIdentity:
    """Which consumer process this is; ``kind`` is process, thread or greenlet.

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
