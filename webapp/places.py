"""Which processes this one can see: one running system, and one container in it."""

import os
import socket
from pathlib import Path

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_SPACE = Path("/proc/self/ns/pid")


def this_place() -> str:
    """Return a name that exactly the processes share whose ids mean the same here.

    On Linux that is this boot of the system and this space of process ids.  Elsewhere there are no
    such spaces, and the host's name serves.
    """
    try:
        return f"{_BOOT.read_text().strip()}/{_SPACE.readlink()}"
    except OSError:
        return socket.gethostname()


def process_exists(pid: int) -> bool:
    """Tell whether a process of this place has this id; another one may have taken it over."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
