"""What the JSON API of reports answers with, by type."""

from datetime import datetime

from webapp.web.openapi import Answer, PageQuery, Query


class ReportResponse(Answer):
    """A report; ``state`` is ready, the state of its job, or lost where that job is gone."""

    id: int
    kind: str
    format: str
    days: int
    source: str | None
    state: str
    job_id: int | None
    requested_at: datetime
    requested_by: str
    finished_at: datetime | None
    size: int | None


class ReportsQuery(PageQuery):
    """Which reports are wanted."""

    kind: str


class ReportRemovalQuery(Query):
    """Why a report is deleted, where no body says it."""

    reason: str
