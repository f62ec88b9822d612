"""The ``report_generation`` job: gathers figures, writes one file, and tells who wants to know."""

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime
from functools import partial
from typing import Any

from flask import current_app
from pydantic import Field
from sqlalchemy.orm import Session

from webapp.actors import Actor
from webapp.channels.service import channels_of, notify
from webapp.channels.values import Message, MessageKind
from webapp.clock import now
from webapp.db import keep_view, reading, transaction
from webapp.errors import Invalid, NotFound
from webapp.files import remove, write_whole
from webapp.jobs.registry import JobArguments, Result, job
from webapp.jobs.values import JobCancelled, JobContext, RetryPolicy
from webapp.moments import rfc3339
from webapp.reports.documents import (
    operations_facts,
    operations_html,
    operations_rows,
    source_facts,
    source_html,
)
from webapp.reports.files import path_of
from webapp.reports.queries import gather_operations, gather_source, record_rows
from webapp.reports.service import begin_report, finish_report
from webapp.reports.values import (
    DEFAULT_DAYS,
    JOB_TYPE,
    MAX_DAYS,
    ReportDraft,
    ReportFormat,
    ReportKind,
)
from webapp.settings import Settings
from webapp.web.spreadsheets import rows_as_csv

LIMIT_SECONDS = 900.0
MOST_CHANNELS = 50
# What a spreadsheet has.
MOST_COLUMNS = 16_384


class ReportArguments(JobArguments):
    """What is written, and who is told."""

    kind: ReportKind = Field(default=ReportKind.OPERATIONS, description="What it is about")
    format: ReportFormat = Field(default=ReportFormat.HTML, description="What it is written as")
    days: int = Field(default=DEFAULT_DAYS, ge=1, le=MAX_DAYS, description="The last so many days")
    source: str = Field(default="", max_length=64, description="Of the kind source: which")
    channels: tuple[str, ...] = Field(
        default=(), max_length=MOST_CHANNELS, description="Channels that are told when it is done"
    )

    def draft(self) -> ReportDraft:
        """Return the report that is asked for."""
        return ReportDraft(
            kind=self.kind,
            format=self.format,
            days=self.days,
            source=self.source,
            channels=self.channels,
        )


@job(
    JOB_TYPE,
    ReportArguments,
    policy=RetryPolicy(max_retries=3, initial_delay=180, backoff_factor=2.0),
    timeout=LIMIT_SECONDS,
)
def write_report(context: JobContext, arguments: ReportArguments) -> Result:
    """Write a report file."""
    settings: Settings = current_app.extensions["settings"]
    by = Actor("system", f"job {context.claim.job_id}", context.claim.request_id)
    with transaction() as session:
        report = begin_report(
            session, arguments.draft(), job_id=context.claim.job_id, by=by.name, now=now()
        )
        report_id = report.id
    path = path_of(settings.reports_dir, report_id, arguments.format)
    size = write_whole(path, _stoppable(context, _pieces(arguments, now())))
    try:
        with transaction() as session:
            if finish_report(session, report_id, size=size, now=now()):
                channels = _standing(context, session, arguments.channels)
                message = _message(arguments, report_id, settings.console_url)
                notify(session, channels, message, by=by, now=now())
    except NotFound:
        # It was deleted while it was written: nobody would ever find the file.
        remove(path)
        return {"written": False, "reason": f"Report {report_id} was deleted meanwhile."}
    return {"written": True, "report": report_id, "bytes": size}


def _standing(context: JobContext, session: Session, names: Sequence[str]) -> list[str]:
    """Return the channels that there still are: one that was removed takes no report with it."""
    known = channels_of(session, names)
    for name in names:
        if name not in known:
            context.log("channel_is_gone", channel=name)
    return list(known)


def _stoppable(context: JobContext, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Stop between two pieces where somebody cancels; what was written is thrown away."""
    for piece in pieces:
        if context.cancelled():
            raise JobCancelled
        yield piece


def _pieces(arguments: ReportArguments, at: datetime) -> Iterator[bytes]:
    """Yield the file piece by piece, all of it from one view of the database."""
    with reading() as session:
        keep_view(session)
        if arguments.kind == ReportKind.OPERATIONS:
            figures = gather_operations(session, days=arguments.days, now=at)
            if arguments.format == ReportFormat.CSV:
                yield rows_as_csv(operations_rows(figures))
            elif arguments.format == ReportFormat.JSON:
                yield _as_json(operations_facts(figures, written_at=at))
            else:
                yield _as_text(operations_html(figures, written_at=at))
        elif arguments.format == ReportFormat.CSV:
            yield from _records_as_csv(partial(record_rows, session, arguments.source))
        else:
            found = gather_source(session, arguments.source, days=arguments.days, now=at)
            if arguments.format == ReportFormat.JSON:
                yield _as_json(source_facts(found, written_at=at))
            else:
                yield _as_text(source_html(found, written_at=at))


def _records_as_csv(read: Callable[[], Iterator[list[dict[str, str]]]]) -> Iterator[bytes]:
    """Yield all records under all columns, which are known once everything was read before."""
    columns: dict[str, None] = {}
    for batch in read():
        columns |= dict.fromkeys(name for record in batch for name in record)
        if len(columns) > MOST_COLUMNS:
            raise Invalid(f"The records have more than {MOST_COLUMNS:,} fields between them.")
        # Nothing to write yet, but somebody may have canceled.
        yield b""
    if columns:
        yield rows_as_csv([list(columns)])
    for batch in read():
        yield rows_as_csv([[record.get(name, "") for name in columns] for record in batch])


def _as_json(facts: dict[str, Any]) -> bytes:
    text = json.dumps(facts, indent=2, ensure_ascii=False, default=_written)
    return _as_text(text + "\n")


def _written(value: object) -> str:
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, date):
        return value.isoformat()
    message = f"{type(value).__name__} has no JSON form"
    raise TypeError(message)


def _as_text(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def _message(arguments: ReportArguments, report_id: int, console_url: str) -> Message:
    about = f"source {arguments.source}" if arguments.source else "operations"
    link = f"{console_url}/reports/{report_id}/download" if console_url else ""
    return Message(
        title=f"Report {report_id}: {about}",
        body=f"The report of the last {arguments.days} days is written.",
        kind=MessageKind.SUCCESS,
        link=link,
    )
