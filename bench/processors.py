"""How much processor time the servers under measurement have used, from Linux's ``/proc``.

Requests a second depend on whatever else the machine does at that moment; the processor time that
one request takes hardly does.
"""

import os
from pathlib import Path
from typing import Final

_TICK: Final = 1 / os.sysconf("SC_CLK_TCK")
# Places in /proc/PID/stat behind the name in brackets, which may hold anything (proc_pid_stat(5)).
_PARENT: Final = 1
_USER_AND_SYSTEM: Final = slice(11, 13)


def spent_by_children() -> float:
    """Return the processor seconds of all processes that descend from this one and still run."""
    parents: dict[int, int] = {}
    seconds: dict[int, float] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            facts = (folder / "stat").read_text().rpartition(") ")[2].split()
        except OSError:
            continue  # It has ended since.
        process = int(folder.name)
        parents[process] = int(facts[_PARENT])
        seconds[process] = sum(int(ticks) for ticks in facts[_USER_AND_SYSTEM]) * _TICK
    return sum(spent for process, spent in seconds.items() if _descends(process, parents))


def _descends(process: int, parents: dict[int, int]) -> bool:
    while process := parents.get(process, 0):
        if process == os.getpid():
            return True
    return False
