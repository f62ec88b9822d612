"""What the JSON API of dead letters answers with, by type."""

from datetime import datetime
from typing import Any, Literal

from webapp.dead_letters.values import Reason, Resolution
from webapp.jobs.responses import AttemptResponse
from webapp.jobs.values import JobState
from webapp.web.openapi import Answer, PageQuery, Query, WindowQuery

Age = Literal["1h", "3h", "24h", "3d", "7d"]


class LetterResponse(Answer):
    """A dead letter; secrets in its arguments are masked."""

    job_id: int
    job_state: JobState
    type: str
    arguments: dict[str, Any]
    reason: Reason
    error_class: str
    exception_type: str
    message: str
    fingerprint: str
    retryable: bool
    retry_count: int
    failed_at: datetime
    resolved: bool
    resolution: Resolution | None
    resolved_at: datetime | None
    resolved_by: str | None
    notes: str | None


class LetterDetailsResponse(LetterResponse):
    """A dead letter with every attempt of its job."""

    traceback: str
    attempts: list[AttemptResponse]


class LetterSampleResponse(Answer):
    """One letter of a group."""

    job_id: int
    message: str


class LetterGroupResponse(Answer):
    """The letters of one cause; shares are 0 to 100."""

    fingerprint: str
    type: str
    exception_type: str
    count: int
    retryable: int
    retryable_share: float
    first_failed_at: datetime
    last_failed_at: datetime
    by_age: dict[str, int]
    sample: LetterSampleResponse


class LetterGroupsResponse(Answer):
    """What troubles there are, the commonest first."""

    items: list[LetterGroupResponse]
    total: int
    letters: int
    capped: bool


class LetterFiguresResponse(Answer):
    """How many letters there are, and of what kind."""

    open: int
    resolved: int
    capped: bool
    retryable: int
    retryable_share: float | None
    by_reason: dict[str, int]
    by_type: dict[str, int]
    by_age: dict[str, int]


class BulkOutcomeResponse(Answer):
    """What came of a bulk: what was done, or the job that does it."""

    dry_run: bool
    count: int
    capped: bool
    done: int | None
    refused: dict[str, int] | None
    job_id: int | None


class DryRunResponse(Answer):
    """What a bulk would act on."""

    dry_run: bool
    count: int
    capped: bool
    sample: list[LetterResponse]


class RemovedLettersResponse(Answer):
    """How many were removed; ``more`` says that there are more."""

    removed: int
    more: bool


class _Narrowing(Query):
    q: str
    type: str
    exception: str
    fingerprint: str
    resolved: Literal["true", "false", "any"]
    older: Age
    newer: Age


class LettersQuery(PageQuery, _Narrowing):
    """What a list of letters is narrowed to."""


class LetterGroupsQuery(WindowQuery, _Narrowing):
    """What a list of causes is narrowed to."""


class ExportQuery(_Narrowing):
    """Which letters are wanted, and how."""

    format: Literal["csv", "json"]
