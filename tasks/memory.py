"""How much memory a consumer and its processes take, as Linux tells it."""

from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")
_SHARE = "Pss:"


def memory_of(pid: int) -> int | None:
    """Return the resident bytes of a process and all that descend from it; None where not told.

    Of memory that several processes share each bears its part, so that the sum is what they take
    together.
    """
    try:
        total = _resident(pid)
    except (OSError, ValueError):
        return None
    for child in _descendants(pid):
        # One that has just ended takes nothing.
        with suppress(OSError, ValueError):
            total += _resident(child)
    return total


def _resident(pid: int) -> int:
    for line in (_PROC / str(pid) / "smaps_rollup").read_text().splitlines():
        if line.startswith(_SHARE):
            return int(line.split()[1]) * 1024
    message = "the kernel tells no shares"
    raise ValueError(message)


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    waiting = [pid]
    while waiting:
        children = _children(waiting.pop())
        found += children
        waiting += children
    return found


def _children(pid: int) -> list[int]:
    """Return the children of a process, each of which one of its threads has begun."""
    found: list[int] = []
    with suppress(OSError):
        for thread in (_PROC / str(pid) / "task").iterdir():
            with suppress(OSError):
                found += map(int, (thread / "children").read_text().split())
    return found
