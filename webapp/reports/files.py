"""The files of reports: written whole or not at all, and named by us alone.

A name is made of a report's number and format, so nothing that somebody typed is part of a path.
"""

import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from webapp.reports.values import ReportFormat


def path_of(folder: Path, report_id: int, form: str) -> Path:
    """Return where the file of a report lies, or would."""
    return folder / f"report-{int(report_id)}.{ReportFormat(form)}"


def write_whole(path: Path, pieces: Iterable[bytes]) -> int:
    """Write a file in one step for whoever looks, and return its size.

    The pieces go into another file of the same folder, which then takes the name; where that fails
    nothing is left of it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        Path(draft).replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(draft).unlink()
        raise
    return size


def remove(path: Path) -> None:
    """Remove a file; one that is gone already is no error."""
    path.unlink(missing_ok=True)
