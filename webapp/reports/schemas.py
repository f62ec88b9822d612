"""Reports as JSON: the body that asks for one, and the answers."""

from typing import Any

from pydantic import Field

from webapp.reports.queries import ReportView
from webapp.reports.values import DEFAULT_DAYS, ReportDraft, ReportFormat, ReportKind
from webapp.web.schemas import Schema, Text


class NewReport(Schema):
    """The body that asks for a report."""

    kind: Text = ReportKind.OPERATIONS.value
    format: Text = ReportFormat.HTML.value
    days: int = DEFAULT_DAYS
    source: Text = ""
    channels: list[Text] = Field(default_factory=list)

    def draft(self) -> ReportDraft:
        """Return the report that is asked for."""
        return ReportDraft(
            kind=self.kind,
            format=self.format,
            days=self.days,
            source=self.source,
            channels=tuple(self.channels),
        )


def report_as_json(view: ReportView) -> dict[str, Any]:
    """Write a report."""
    return {
        "id": view.id,
        "kind": view.kind,
        "format": view.format,
        "days": view.days,
        "source": view.source,
        "state": view.state,
        "job_id": view.job_id,
        "requested_at": view.requested_at,
        "requested_by": view.requested_by,
        "finished_at": view.finished_at,
        "size": view.size,
    }
