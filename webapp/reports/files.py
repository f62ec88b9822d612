"""The files of reports, named by us alone.

A name is made of a report's number and format, so nothing that somebody typed is part of a path.
"""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from webapp.reports.values import ReportFormat

_FILE = re.compile(rf"report-([1-9][0-9]{{0,17}})\.({'|'.join(ReportFormat)})")
_DRAFT = re.compile(rf"\.{_FILE.pattern}\.\w+\.part")


def path_of(folder: Path, report_id: int, form: str) -> Path:
    """Return where the file of a report lies, or would."""
    return folder / f"report-{int(report_id)}.{ReportFormat(form)}"


def files_of(folder: Path, *, before: datetime) -> dict[Path, int]:
    """Return the files of reports that nobody has written to since, with the reports' numbers."""
    return {
        path: int(found[1])
        for path in _old(folder, before)
        if (found := _FILE.fullmatch(path.name)) is not None
    }


def holds_reports(folder: Path) -> bool:
    """Tell whether there is the file of any report."""
    return any(_FILE.fullmatch(path.name) for path in folder.glob("report-*"))


def drafts_of(folder: Path, *, before: datetime) -> list[Path]:
    """Return what was being written by somebody who was killed: nobody has written to it since."""
    return [path for path in _old(folder, before) if _DRAFT.fullmatch(path.name)]


def _old(folder: Path, before: datetime) -> Iterator[Path]:
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            # One that somebody removes at this moment is none of ours any more.
            with suppress(FileNotFoundError):
                if entry.stat(follow_symlinks=False).st_mtime < before.timestamp():
                    yield Path(entry.path)
