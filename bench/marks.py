"""What a measured job does: it notes when it was sent and when it began, and nothing else.

The notes of all processes go into one file, each by one write, so that every queue pays the same
for them.  It must not know which queue it runs in.
"""

import os
import struct
import time
from functools import cache
from pathlib import Path
from typing import Final

FILE: Final = "BENCH_MARKS"
_RECORD: Final = struct.Struct("dd")


def mark(sent_at: float) -> None:
    """Note the start of one job that was sent at this time."""
    os.write(_file(), _RECORD.pack(sent_at, time.time()))


def clear() -> None:
    """Forget what was noted."""
    os.truncate(_file(), 0)


def count() -> int:
    """Return how many jobs have begun."""
    return _path().stat().st_size // _RECORD.size


def waits() -> list[float]:
    """Return for how many seconds each job waited, the shortest wait first."""
    return sorted(began - sent for sent, began in _RECORD.iter_unpack(_path().read_bytes()))


def _path() -> Path:
    return Path(os.environ[FILE])


@cache
def _file() -> int:
    return os.open(_path(), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
