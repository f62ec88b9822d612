"""Writes what is known of reports: asked for, written, removed.

Never gathers figures nor writes a file: the job does.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from sqlalchemy import delete, or_, select, update
from sqlalchemy.exc import IntegrityError

from webapp.actors import Actor
from webapp.audit.service import record
from webapp.audit.values import Change
from webapp.channels.service import check_channels
from webapp.db import DbSession, after_commit
from webapp.errors import Conflict, Invalid, NotFound
from webapp.files import remove
from webapp.jobs.service import cancel, enqueue
from webapp.reasons import checked_reason
from webapp.reports.files import drafts_of, files_of, holds_reports, path_of
from webapp.reports.models import Report
from webapp.reports.values import (
    JOB_TYPE,
    MAX_DAYS,
    ReportDraft,
    ReportFormat,
    ReportKind,
)
from webapp.sources.service import find_source


def request_report(session: DbSession, draft: ReportDraft, *, by: Actor, now: datetime) -> Report:
    """Enqueue the job that writes a report, and note it; :class:`Invalid` names each field."""
    _check(session, draft, channels=draft.channels)
    job = enqueue(session, JOB_TYPE, _arguments(draft), by=by, now=now)
    return _add(session, draft, job_id=job.id, by=by.name, now=now)


def begin_report(
    session: DbSession, draft: ReportDraft, *, job_id: int, by: str, now: datetime
) -> Report:
    """Return the report of a job, made where there is none: one that a schedule asked for.

    A channel that is gone by then is no reason not to write it.
    """
    _check(session, draft)
    standing = _report_of(session, job_id)
    if standing is not None:
        return standing
    try:
        # The unique job settles it between two attempts that are under way at once.
        with session.begin_nested():
            return _add(session, draft, job_id=job_id, by=by, now=now)
    except IntegrityError:
        raise Conflict(f"Another attempt of job {job_id} writes its report.") from None


def finish_report(session: DbSession, report_id: int, *, size: int, now: datetime) -> bool:
    """Note that the file is there; tells whether this is the first time.

    :class:`NotFound` where the report was deleted meanwhile.
    """
    # Conditional, so that of two attempts that both write it one tells people of it.
    done = session.execute(
        update(Report)
        .where(Report.id == report_id, Report.finished_at.is_(None))
        .values(finished_at=now, size=size)
        .execution_options(synchronize_session=False)
    )
    if done.rowcount:  # type: ignore[attr-defined]
        return True
    find_report(session, report_id).size = size
    return False


def remove_report(
    session: DbSession, report_id: int, *, folder: Path, by: Actor, now: datetime, reason: str
) -> None:
    """Delete a report, and its file after the commit; one that is not written yet is canceled."""
    report = find_report(session, report_id)
    reason = checked_reason(reason)
    kind, form = report.kind, report.format
    if report.finished_at is None and report.job_id is not None:
        _stop(session, report.job_id, by=by, now=now)
    # Of two who delete it, one does.
    gone = session.execute(
        delete(Report).where(Report.id == report_id).execution_options(synchronize_session=False)
    )
    if not gone.rowcount:  # type: ignore[attr-defined]
        raise NotFound(f"There is no report {report_id}.")
    session.expunge(report)
    record(
        session,
        by=by,
        at=now,
        action="report.deleted",
        subject="report",
        name=str(report_id),
        reason=reason,
        changes={"kind": Change(kind, None), "format": Change(form, None)},
    )
    after_commit(session, partial(remove, path_of(folder, report_id, form)))


def _stop(session: DbSession, job_id: int, *, by: Actor, now: datetime) -> None:
    """Cancel the job of a report that nobody waits for; one that has ended is left alone."""
    with suppress(Conflict, NotFound):
        cancel(session, job_id, by=by, now=now)


def remove_old_reports(session: DbSession, *, before: datetime, most: int, folder: Path) -> int:
    """Delete some of the reports that were asked for before a time; return their number."""
    wanted = select(Report.id, Report.format).where(Report.requested_at < before)
    rows = session.execute(wanted.order_by(Report.requested_at, Report.id).limit(most)).all()
    if rows:
        session.execute(
            delete(Report)
            .where(Report.id.in_([row.id for row in rows]))
            .execution_options(synchronize_session=False)
        )
    for row in rows:
        after_commit(session, partial(remove, path_of(folder, row.id, row.format)))
    return len(rows)


@dataclass(frozen=True, slots=True)
class Leftovers:
    """How many went; the walk goes on behind report ``last``, unless it is ``over``."""

    number: int
    last: int
    over: bool


def remove_stray_files(
    session: DbSession, *, folder: Path, before: datetime, after: int, most: int
) -> Leftovers:
    """Remove files that belong to no report, of the next numbers behind one; some at a time.

    Who dies between a file and its row, or while writing, leaves one behind.  ``before`` must lie
    further back than any report takes to be written.
    """
    files = files_of(folder, before=before)
    page = sorted((path for path in files if files[path] > after), key=files.__getitem__)[:most]
    wanted = select(Report.id, Report.format).where(Report.id.in_([files[path] for path in page]))
    known = {path_of(folder, row.id, row.format) for row in session.execute(wanted)}
    stray = [path for path in page if path not in known]
    if not after:
        stray += drafts_of(folder, before=before)
    for path in stray:
        after_commit(session, partial(remove, path))
    last = files[page[-1]] if page else after
    return Leftovers(len(stray), last, over=len(page) < most)


def remove_lost_reports(
    session: DbSession, *, folder: Path, before: datetime, after: int, most: int
) -> Leftovers:
    """Remove reports that nobody can download, of the next ones behind one; some at a time.

    Their file is gone, or their job was before it wrote one.  Where the folder holds no report at
    all none goes for its file: rather is the folder not the one, or not mounted.
    """
    page = session.execute(
        select(Report.id, Report.format, Report.finished_at)
        .where(
            Report.id > after,
            Report.requested_at < before,
            or_(Report.finished_at < before, Report.job_id.is_(None)),
        )
        .order_by(Report.id)
        .limit(most)
    ).all()
    mounted = holds_reports(folder)
    lost = [
        row.id
        for row in page
        if row.finished_at is None
        or (mounted and not path_of(folder, row.id, row.format).is_file())
    ]
    if lost:
        session.execute(
            delete(Report).where(Report.id.in_(lost)).execution_options(synchronize_session=False)
        )
    return Leftovers(len(lost), page[-1].id if page else after, over=len(page) < most)


def find_report(session: DbSession, report_id: int) -> Report:
    """Return one report; :class:`NotFound` where there is none of that number."""
    report = session.get(Report, report_id, populate_existing=True)
    if report is None:
        raise NotFound(f"There is no report {report_id}.")
    return report


def find_file(session: DbSession, report_id: int, *, folder: Path) -> tuple[Report, Path]:
    """Return a report and where its file lies; :class:`NotFound` where there is none (yet)."""
    report = find_report(session, report_id)
    path = path_of(folder, report.id, report.format)
    if report.finished_at is None:
        raise NotFound(f"Report {report_id} is not written yet.")
    if not path.is_file():
        raise NotFound(f"The file of report {report_id} is not in the folder of reports.")
    return report, path


def filename_of(report: Report) -> str:
    """Return the name that a browser saves the file of a report under."""
    about = f"source-{report.source}" if report.source else report.kind
    return f"{about}-{report.requested_at:%Y-%m-%d}-{report.id}.{report.format}"


def _check(session: DbSession, draft: ReportDraft, *, channels: Sequence[str] = ()) -> None:
    """Refuse a report that could not be written; :class:`Invalid` names every field."""
    errors: dict[str, Sequence[str]] = {}
    if draft.kind not in set(ReportKind):
        errors["kind"] = [f"One of {', '.join(ReportKind)}."]
    if draft.format not in set(ReportFormat):
        errors["format"] = [f"One of {', '.join(ReportFormat)}."]
    if not 1 <= draft.days <= MAX_DAYS:
        errors["days"] = [f"A whole number from 1 to {MAX_DAYS}."]
    if draft.kind == ReportKind.SOURCE:
        try:
            find_source(session, draft.source)
        except NotFound:
            errors["source"] = [
                f"There is no source {draft.source!r}." if draft.source else "Choose a source."
            ]
    elif draft.source:
        errors["source"] = ["Only a report of the kind source is about one."]
    try:
        check_channels(session, channels)
    except Invalid as error:
        errors |= error.errors
    if errors:
        field, messages = next(iter(errors.items()))
        raise Invalid(f"{field}: {messages[0]}", errors)


def _arguments(draft: ReportDraft) -> dict[str, object]:
    return {
        "kind": draft.kind,
        "format": draft.format,
        "days": draft.days,
        "source": draft.source,
        "channels": list(draft.channels),
    }


def _report_of(session: DbSession, job_id: int) -> Report | None:
    return session.scalar(select(Report).where(Report.job_id == job_id))


def _add(session: DbSession, draft: ReportDraft, *, job_id: int, by: str, now: datetime) -> Report:
    report = Report(
        kind=draft.kind,
        format=draft.format,
        days=draft.days,
        source=draft.source or None,
        job_id=job_id,
        requested_at=now,
        requested_by=by,
    )
    session.add(report)
    session.flush()
    return report
