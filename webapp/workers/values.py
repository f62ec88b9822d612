"""The vocabulary of workers."""

from dataclasses import dataclass
from datetime import timedelta

#: A worker that was silent for so long is counted as gone.
GONE_AFTER = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class WorkerIdentity:
    """Which consumer process this is; ``kind`` is process, thread or greenlet."""

    name: str
    host: str
    pid: int
    kind: str
    processes: int
    version: str
