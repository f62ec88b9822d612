"""The folder in which the processes of a host count: one file for each kind and process.

prometheus_client writes there where ``PROMETHEUS_MULTIPROC_DIR`` names it.  What a process has
counted stays when it ends, for a sum that went down would look like a new beginning: a host begins
anew only where none of those that wrote there is alive.
"""

import os
import re
from contextlib import suppress
from pathlib import Path

from webapp.places import process_exists

_FILE = re.compile(r"[a-z]+(?:_[a-z]+)?_(\d+)\.db")


def folder() -> Path | None:
    """Return the folder of this process, None where it counts for itself."""
    path = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    return Path(path) if path else None


def begin(path: Path, *, me: int) -> None:
    """Make the folder, and empty it unless another living process than ``me`` writes there."""
    path.mkdir(parents=True, exist_ok=True)
    files = {file: int(found[1]) for file in path.iterdir() if (found := _FILE.match(file.name))}
    others = {file: pid for file, pid in files.items() if pid != me}
    if any(process_exists(pid) for pid in others.values()):
        return
    for file in others:
        with suppress(FileNotFoundError):
            file.unlink()
