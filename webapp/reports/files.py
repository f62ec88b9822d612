"""The files of reports, named by us alone.

A name is made of a report's number and format, so nothing that somebody typed is part of a path.
"""

from pathlib import Path

from webapp.reports.values import ReportFormat


def path_of(folder: Path, report_id: int, form: str) -> Path:
    """Return where the file of a report lies, or would."""
    return folder / f"report-{int(report_id)}.{ReportFormat(form)}"
