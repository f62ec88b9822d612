"""The folder of counts: emptied where nobody counts, and never under somebody who does."""

import os
import subprocess
import sys
from pathlib import Path

from webapp.telemetry.folder import begin


def gone() -> int:
    """Return the id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_it_is_made(tmp_path: Path) -> None:
    begin(tmp_path / "a" / "b", me=1)
    assert (tmp_path / "a" / "b").is_dir()


def test_what_ended_processes_counted_is_removed_where_nobody_is_left(tmp_path: Path) -> None:
    dead, me = gone(), os.getpid()
    for name in (f"counter_{dead}.db", f"gauge_livesum_{dead}.db", f"histogram_{me}.db"):
        (tmp_path / name).touch()
    (tmp_path / "readme.txt").touch()
    begin(tmp_path, me=me)
    assert {path.name for path in tmp_path.iterdir()} == {f"histogram_{me}.db", "readme.txt"}


def test_nothing_is_removed_while_another_process_counts(tmp_path: Path) -> None:
    names = {f"counter_{gone()}.db", f"counter_{os.getpid()}.db"}
    for name in names:
        (tmp_path / name).touch()
    begin(tmp_path, me=gone())
    assert {path.name for path in tmp_path.iterdir()} == names
