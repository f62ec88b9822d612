"""What the JSON API of jobs answers with, by type: the document of the API is made from these."""

from datetime import datetime
from typing import Any

from webapp.jobs.values import JobState, Outcome
from webapp.web.openapi import Answer, PageQuery, Query


class JobProgressResponse(Answer):
    """How far a job has come."""

    done: int | None
    total: int | None
    message: str | None


class JobResponse(Answer):
    """A job; secrets in arguments and result are masked."""

    id: int
    type: str
    queue: str
    state: JobState
    stopping: bool
    priority: int
    arguments: dict[str, Any]
    unique_key: str | None
    attempt: int
    losses: int
    deferrals: int
    progress: JobProgressResponse
    result: Any
    error: str | None
    worker: str | None
    held: bool
    batch_id: int | None
    callback_url: str | None
    callback_job_id: int | None
    run_at: datetime
    expires_at: datetime | None
    created_at: datetime
    created_by: str
    request_id: str | None
    started_at: datetime | None
    finished_at: datetime | None


class AttemptResponse(Answer):
    """One attempt of a job."""

    number: int
    outcome: Outcome
    worker: str | None
    due_at: datetime | None
    started_at: datetime
    ended_at: datetime
    error_class: str | None
    exception_type: str | None
    message: str | None
    traceback: str | None
    strategy: str | None
    delay_seconds: float | None
    flags_seen: Any


class LogLineResponse(Answer):
    """One line of a job's log."""

    at: datetime
    attempt: int
    level: str
    event: str
    facts: Any


class RelatedJobResponse(Answer):
    """A job that another waits for, or that waits for it."""

    id: int
    type: str
    state: JobState


class FollowingResponse(Answer):
    """The job that follows a batch."""

    type: str
    job_id: int | None


class BatchResponse(Answer):
    """A batch with its progress."""

    id: int
    name: str
    size: int
    ended: int
    states: dict[str, int]
    created_at: datetime
    created_by: str
    finished_at: datetime | None
    then: FollowingResponse | None


class JobDetailsResponse(JobResponse):
    """A job with all that hangs on it."""

    attempts: list[AttemptResponse]
    log: list[LogLineResponse]
    depends_on: list[RelatedJobResponse]
    needed_by: list[RelatedJobResponse]
    batch: BatchResponse | None


class BatchesResponse(Answer):
    """A page of batches."""

    items: list[BatchResponse]
    next: str | None


class RetryPolicyResponse(Answer):
    """How often and how soon a type is tried again; seconds."""

    max_retries: int
    initial_delay: float
    backoff_factor: float
    max_delay: float
    jitter: float
    max_deferrals: int


class PauseResponse(Answer):
    """Since when, by whom and why something is paused."""

    at: datetime
    by: str | None
    reason: str | None


class JobTypeResponse(Answer):
    """A type of job, its own policy, and the one in force."""

    name: str
    description: str
    arguments_schema: dict[str, Any]
    queue: str
    priority: int
    timeout: float | None
    policy: RetryPolicyResponse
    own_timeout: float | None
    own_policy: RetryPolicyResponse
    internal: bool
    paused: PauseResponse | None
    version: int


class JobTypesResponse(Answer):
    """Every type."""

    items: list[JobTypeResponse]


class JobQueueResponse(Answer):
    """A queue."""

    name: str
    paused: PauseResponse | None


class SurveyResponse(Answer):
    """What a bulk action would change."""

    dry_run: bool
    count: int
    capped: bool
    states: dict[str, int]
    sample: list[JobResponse]


class RefusedJobResponse(Answer):
    """Why something was not done to a job."""

    id: int
    why: str


class BulkDoneResponse(Answer):
    """What a bulk action did."""

    dry_run: bool
    done: int
    refused: list[RefusedJobResponse]


class BulkTakenResponse(Answer):
    """The job that carries a bulk action out."""

    dry_run: bool
    job_id: int


class OldestResponse(Answer):
    """The queued job that has been due for longest."""

    id: int
    type: str
    queue: str
    due_at: datetime
    waited_seconds: float


class ThroughputResponse(Answer):
    """What ended in each minute and hour, by outcome."""

    minutes: list[dict[str, Any]]
    hours: list[dict[str, Any]]


class StatsResponse(Answer):
    """How the queue stands and how it went."""

    states: dict[str, int]
    capped: list[str]
    queues: list[dict[str, Any]]
    types: list[dict[str, Any]]
    oldest_queued: OldestResponse | None
    throughput: ThroughputResponse
    last_hour: list[dict[str, Any]]


class JobsQuery(PageQuery):
    """What a list of jobs is narrowed to."""

    state: JobState
    type: str
    queue: str
    text: str
    batch: int
    created_from: datetime
    created_to: datetime
    finished_from: datetime
    finished_to: datetime


class BatchesQuery(Query):
    """Which page of batches is wanted."""

    before: int
    after: int
