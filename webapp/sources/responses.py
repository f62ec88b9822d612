"""What the JSON API of sources answers with, by type."""

from datetime import datetime

from webapp.sources.values import Pagination, RunStatus, SourceKind
from webapp.web.openapi import Answer, Collection, Limit, PageQuery, Query, RowId, WindowQuery


class SourceOptionsResponse(Answer):
    """How a source is called over HTTP."""

    auth_env: str
    auth_header: str
    items: str
    pagination: Pagination
    page_param: str
    first_page: int
    size_param: str
    page_size: int
    cursor_param: str
    cursor_path: str
    max_pages: int


class SourceLimitResponse(Answer):
    """The rate limit that a source says itself; 0 calls mean none."""

    calls: int
    seconds: int | None


class SourceRunResponse(Answer):
    """One reading of a source."""

    id: int
    source: str
    job_id: int | None
    status: RunStatus
    started_at: datetime
    ended_at: datetime | None
    processed: int
    inserted: int
    updated: int
    unchanged: int
    rejected: int
    drift: dict[str, int]
    bytes_read: int
    bytes_total: int
    pages: int


class SourceResponse(Answer):
    """Where records come from."""

    name: str
    kind: SourceKind
    location: str
    key_field: str
    options: SourceOptionsResponse
    mapping: dict[str, str]
    rate_limit: SourceLimitResponse | None
    record_count: int
    version: int
    created_at: datetime
    last_run: SourceRunResponse | None


class StartedRunResponse(Answer):
    """The job that reads a source; it is not a new one where one was under way."""

    job_id: int
    new: bool


class RecordResponse(Answer):
    """The newest row of one key."""

    key: str
    raw: dict[str, str]
    mapped: dict[str, str] | None
    first_seen_at: datetime
    last_seen_at: datetime
    run_id: int


class RecordPageResponse(Collection[RecordResponse]):
    """Records by key, and the address of those behind them."""

    next: str | None


class RejectedRowResponse(Answer):
    """A row that became no record."""

    id: int
    run_id: int
    line: int
    error: str
    text: str


class SourcesQuery(WindowQuery):
    """What a list of sources is narrowed to."""

    q: str


class RecordsQuery(Query):
    """Which records are wanted: so many behind one key."""

    limit: Limit
    after: str


class RejectedQuery(PageQuery):
    """Which rejected rows are wanted; without a run those of the newest."""

    run: RowId


class SourceRemovalQuery(Query):
    """Why a source is removed, where no body says it."""

    reason: str
    version: int
