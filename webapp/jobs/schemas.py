"""Jobs as JSON: the bodies that are read, and the answers."""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from webapp.db import MOST_ID
from webapp.errors import Invalid
from webapp.jobs.batching import BatchRow
from webapp.jobs.bulk import MOST_IDS, BulkAction, Order, Refusal, Survey
from webapp.jobs.control import PolicyDraft
from webapp.jobs.filters import JobFilters
from webapp.jobs.models import Job, JobAttempt, JobLogLine, JobQueue, JobTypeSetting
from webapp.jobs.queries import Neighbour
from webapp.jobs.registry import JobType
from webapp.jobs.values import RetryPolicy
from webapp.jobs.wishes import JobOptions
from webapp.logs import masked
from webapp.web.schemas import Moment, ReasonText, Schema, Text


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    try:
        json.dumps(values, allow_nan=False)
    except ValueError:
        raise ValueError("NaN and Infinity are no numbers that JSON knows") from None
    return values


Arguments = Annotated[dict[str, Any], AfterValidator(_finite)]
RowId = Annotated[int, Field(ge=1, le=MOST_ID)]


class EnqueueRequest(Schema):
    """The body of an enqueue; the arguments are checked by the type's own schema."""

    arguments: Arguments = Field(default_factory=dict)
    priority: int | None = Field(default=None, ge=0, le=100)
    queue: Text | None = None
    delay: float | None = None
    run_at: Moment | None = None
    expires_at: Moment | None = None
    unique_key: Text | None = Field(default=None, min_length=1, max_length=255)
    depends_on: list[RowId] = Field(default_factory=list)
    callback_url: Text | None = None

    def options(self) -> JobOptions:
        """Return the options that are given."""
        return JobOptions(
            priority=self.priority,
            queue=self.queue,
            delay=self.delay,
            run_at=self.run_at,
            expires_at=self.expires_at,
            unique_key=self.unique_key,
            depends_on=self.depends_on,
            callback_url=self.callback_url,
        )


class PolicyBody(Schema):
    """What operators want of a type; what is absent or null is as the type says."""

    max_retries: int | None = None
    initial_delay: float | None = None
    backoff_factor: float | None = None
    max_delay: float | None = None
    jitter: float | None = None
    timeout: float | None = None
    reason: ReasonText = ""
    version: int = Field(default=0, ge=0, le=2**31 - 1)

    def draft(self) -> PolicyDraft:
        """Return the policy that is asked for."""
        return PolicyDraft(**self.model_dump(exclude={"reason", "version"}))


class FilterBody(Schema):
    """Which jobs a bulk action is meant for; as the filters of the list."""

    state: Text = ""
    type: Text = ""
    queue: Text = ""
    text: Text = ""
    batch: RowId | None = None
    created_from: Moment | None = None
    created_to: Moment | None = None
    finished_from: Moment | None = None
    finished_to: Moment | None = None

    def filters(self) -> JobFilters:
        """Return the filters, read as those of the list are."""
        return JobFilters.read(JobFilters(**self.model_dump()).given())


class BulkRequest(Schema):
    """The body of a bulk action: to which jobs, by ids or by a filter."""

    action: BulkAction = Field(strict=False)
    ids: list[RowId] | None = Field(default=None, min_length=1, max_length=MOST_IDS)
    filter: FilterBody | None = None
    priority: int | None = Field(default=None, ge=0, le=100)
    dry_run: bool = False
    reason: ReasonText = ""

    def order(self) -> Order:
        """Return the order; :class:`Invalid` where it does not say to which jobs."""
        if (self.ids is None) == (self.filter is None):
            raise Invalid.field("ids", "Name jobs by ids or by a filter, and not by both.")
        return Order(
            action=self.action,
            ids=self.ids or (),
            filters=self.filter.filters() if self.filter else JobFilters(),
            priority=self.priority,
        ).checked()


def job_as_json(job: Job) -> dict[str, Any]:
    """Write a job, its arguments and result without what is secret."""
    return {
        "id": job.id,
        "type": job.type,
        "queue": job.queue,
        "state": job.state,
        "stopping": job.cancel_requested_at is not None and job.worker is not None,
        "priority": job.priority,
        "arguments": masked(job.arguments),
        "unique_key": job.unique_key,
        "attempt": job.attempts,
        "losses": job.losses,
        "deferrals": job.deferrals,
        "progress": {
            "done": job.progress_done,
            "total": job.progress_total,
            "message": job.progress_message,
        },
        "result": masked(job.result),
        "error": job.error,
        "worker": job.worker,
        "held": job.held,
        "batch_id": job.batch_id,
        "callback_url": masked(job.callback_url),
        "callback_job_id": job.callback_job_id,
        "run_at": job.run_at,
        "expires_at": job.expires_at,
        "created_at": job.created_at,
        "created_by": job.created_by,
        "request_id": job.request_id,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
    }


def attempt_as_json(item: JobAttempt) -> dict[str, Any]:
    """Write one attempt."""
    return {
        "number": item.fence,
        "outcome": item.outcome,
        "worker": item.worker,
        "due_at": item.due_at,
        "started_at": item.started_at,
        "ended_at": item.ended_at,
        "error_class": item.error_class,
        "exception_type": item.exception_type,
        "message": item.message,
        "traceback": item.traceback,
        "strategy": item.strategy,
        "delay_seconds": item.delay_seconds,
        "flags_seen": item.flags_seen,
    }


def line_as_json(line: JobLogLine) -> dict[str, Any]:
    """Write one line of a job's log."""
    return {
        "at": line.at,
        "attempt": line.fence,
        "level": line.level,
        "event": line.event,
        "facts": line.facts,
    }


def neighbour_as_json(neighbour: Neighbour) -> dict[str, Any]:
    """Write a job that another waits for, or that waits for it."""
    return {"id": neighbour.id, "type": neighbour.type, "state": neighbour.state}


def batch_as_json(row: BatchRow) -> dict[str, Any]:
    """Write a batch with its progress."""
    return {
        "id": row.id,
        "name": row.name,
        "size": row.size,
        "ended": row.ended,
        "states": row.counts,
        "created_at": row.created_at,
        "created_by": row.created_by,
        "finished_at": row.finished_at,
        "then": {"type": row.then_type, "job_id": row.then_job_id} if row.then_type else None,
    }


def type_as_json(
    kind: JobType, in_force: JobType, setting: JobTypeSetting | None
) -> dict[str, Any]:
    """Write a type with its schema, and the policy that is in force beside its own."""
    return {
        "name": kind.name,
        "description": kind.description,
        "arguments_schema": kind.arguments.model_json_schema(),
        "queue": kind.queue,
        "priority": kind.priority,
        "timeout": in_force.timeout,
        "policy": policy_as_json(in_force.policy),
        "own_timeout": kind.timeout,
        "own_policy": policy_as_json(kind.policy),
        "internal": kind.internal,
        "paused": pause_as_json(setting),
        "version": setting.version if setting else 0,
    }


def policy_as_json(policy: RetryPolicy) -> dict[str, Any]:
    """Write how often and how soon a type is tried again."""
    return {
        "max_retries": policy.max_retries,
        "initial_delay": policy.initial_delay,
        "backoff_factor": policy.backoff_factor,
        "max_delay": policy.max_delay,
        "jitter": policy.jitter,
        "max_deferrals": policy.max_deferrals,
    }


def pause_as_json(paused: JobQueue | JobTypeSetting | None) -> dict[str, Any] | None:
    """Write since when, by whom and why something is paused; None where it is not."""
    if paused is None or paused.paused_at is None:
        return None
    return {"at": paused.paused_at, "by": paused.paused_by, "reason": paused.reason}


def survey_as_json(found: Survey, samples: Sequence[Job]) -> dict[str, Any]:
    """Write what a bulk action would change."""
    states: Mapping[str, int] = {state.value: count for state, count in found.states.items()}
    return {
        "dry_run": True,
        "count": found.total,
        "capped": found.capped,
        "states": states,
        "sample": [job_as_json(job) for job in samples],
    }


def refusal_as_json(refusal: Refusal) -> dict[str, Any]:
    """Write why something was not done to a job."""
    return {"id": refusal.id, "why": refusal.why}
