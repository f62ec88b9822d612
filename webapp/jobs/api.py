"""Jobs for programs: enqueue one, and look at it."""

from datetime import datetime
from typing import Any

from flask import Blueprint, jsonify, url_for
from pydantic import Field
from werkzeug.wrappers import Response

from webapp.clock import now
from webapp.db import db
from webapp.jobs import queries, service
from webapp.jobs.models import Job, JobAttempt
from webapp.jobs.stats import queue_stats, stats_as_json
from webapp.logs import masked
from webapp.roles import Role
from webapp.web.access import actor, requires
from webapp.web.answers import json_answer
from webapp.web.schemas import Moment, Schema, Text, read_json

blueprint = Blueprint("jobs_api", __name__, url_prefix="/api/v1/queue")


class EnqueueRequest(Schema):
    """The body of an enqueue; the arguments are checked by the type's own schema."""

    arguments: dict[str, Any] = Field(default_factory=dict)
    priority: int | None = Field(default=None, ge=0, le=100)
    run_at: Moment | None = None
    unique_key: Text | None = Field(default=None, min_length=1, max_length=255)


@blueprint.post("/jobs/<type_name>")
@requires(Role.OPERATOR)
def enqueue(type_name: str) -> tuple[Response, int, dict[str, str]]:
    """Take a job: 202 with its address, also while the broker is away."""
    body = read_json(EnqueueRequest)
    job = service.enqueue(
        db.session,
        type_name,
        body.arguments,
        by=actor(),
        now=now(),
        run_at=body.run_at,
        priority=body.priority,
        unique_key=body.unique_key,
    )
    db.session.commit()
    return jsonify(_job(job)), 202, {"Location": url_for("jobs_api.show", job_id=job.id)}


@blueprint.get("/jobs/<int:job_id>")
@requires(Role.VIEWER)
def show(job_id: int) -> Response:
    """Return one job with its attempts."""
    job = service.find_job(db.session, job_id)
    attempts = [_attempt(item) for item in queries.attempts_of(db.session, job_id)]
    return jsonify(_job(job) | {"attempts": attempts})


@blueprint.get("/stats")
@requires(Role.VIEWER)
def stats() -> Response:
    """Write how the queue stands and how it went."""
    return json_answer(stats_as_json(queue_stats(db.session, now=now())))


def _job(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "type": job.type,
        "state": job.state,
        "priority": job.priority,
        "arguments": masked(job.arguments),
        "unique_key": job.unique_key,
        "attempt": job.attempts,
        "progress": {"done": job.progress_done, "total": job.progress_total},
        "result": masked(job.result),
        "error": job.error,
        "run_at": _time(job.run_at),
        "created_at": _time(job.created_at),
        "started_at": _time(job.started_at),
        "finished_at": _time(job.finished_at),
    }


def _attempt(item: JobAttempt) -> dict[str, Any]:
    return {
        "number": item.fence,
        "outcome": item.outcome,
        "worker": item.worker,
        "started_at": _time(item.started_at),
        "ended_at": _time(item.ended_at),
        "error_class": item.error_class,
        "exception_type": item.exception_type,
        "message": item.message,
        "delay_seconds": item.delay_seconds,
    }


def _time(value: datetime | None) -> str | None:
    return value.isoformat().replace("+00:00", "Z") if value else None
