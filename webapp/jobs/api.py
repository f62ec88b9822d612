"""Jobs for programs: enqueue, list, look at one, cancel, retry."""

from flask import Blueprint, Response, request, url_for

from webapp.clock import now
from webapp.db import db
from webapp.jobs import queries, service
from webapp.jobs.batching import batch_of
from webapp.jobs.filters import JobFilters
from webapp.jobs.models import Job
from webapp.jobs.responses import JobDetailsResponse, JobResponse, JobsQuery, StatsResponse
from webapp.jobs.schemas import (
    EnqueueRequest,
    attempt_as_json,
    batch_as_json,
    job_as_json,
    line_as_json,
    neighbour_as_json,
)
from webapp.jobs.stats import queue_stats, stats_as_json
from webapp.jobs.values import JobState
from webapp.roles import Role
from webapp.web.access import actor, requires
from webapp.web.answers import json_answer
from webapp.web.cursors import neighbours, read_cursor
from webapp.web.openapi import SearchPage, describes
from webapp.web.requests import makes
from webapp.web.schemas import read_json, read_limit

blueprint = Blueprint("jobs_api", __name__, url_prefix="/api/v1/queue")


@blueprint.get("/jobs")
@requires(Role.VIEWER)
@describes({200: SearchPage[JobResponse]}, query=JobsQuery)
def index() -> Response:
    """List jobs, newest first; ``next`` is the address of older ones."""
    filters = JobFilters.read(request.args)
    size = read_limit()
    page = queries.find_jobs(db.session, filters, read_cursor(), size=size)
    links = neighbours(page)
    return json_answer(
        {
            "items": [job_as_json(job) for job in page.rows],
            "total": page.total,
            "capped": page.capped,
            "searched": page.searched,
            "next": links["next_url"],
            "previous": links["previous_url"],
        }
    )


@blueprint.post("/jobs/<type_name>")
@requires(Role.OPERATOR)
@describes(
    {202: JobResponse},
    body=EnqueueRequest,
    example={"arguments": {"source": "airports"}, "priority": 50},
)
@makes
def enqueue(type_name: str) -> Response:
    """Take a job: 202 with its address, also while the broker is away."""
    body = read_json(EnqueueRequest)
    job = service.enqueue(
        db.session, type_name, body.arguments, by=actor(), now=now(), **body.options()
    )
    db.session.commit()
    return _taken(job)


@blueprint.get("/jobs/<int:job_id>")
@requires(Role.VIEWER)
@describes({200: JobDetailsResponse})
def show(job_id: int) -> Response:
    """Write one job with its attempts, its log and the jobs around it."""
    job = service.find_job(db.session, job_id)
    batch = batch_of(db.session, job.batch_id)
    around = queries.neighbours_of(db.session, job_id)
    return json_answer(
        job_as_json(job)
        | {
            "attempts": [attempt_as_json(x) for x in queries.attempts_of(db.session, job_id)],
            "log": [line_as_json(line) for line in queries.log_of(db.session, job_id)],
            "depends_on": [neighbour_as_json(item) for item in around.before],
            "needed_by": [neighbour_as_json(item) for item in around.after],
            "batch": batch_as_json(batch) if batch else None,
        }
    )


@blueprint.delete("/jobs/<int:job_id>")
@requires(Role.ADMIN)
@describes({200: JobResponse, 202: JobResponse})
def cancel(job_id: int) -> Response:
    """Cancel a waiting job (200), or ask a running one to stop (202); 409 where it has ended."""
    job = service.cancel(db.session, job_id, by=actor(), now=now())
    db.session.commit()
    return json_answer(job_as_json(job), 200 if job.state == JobState.CANCELED else 202)


@blueprint.post("/jobs/<int:job_id>/retry")
@requires(Role.OPERATOR)
@describes({202: JobResponse})
def retry(job_id: int) -> Response:
    """Run a dead or canceled job again, or a waiting one at once."""
    job = service.retry(db.session, job_id, by=actor(), now=now())
    db.session.commit()
    return _taken(job)


@blueprint.get("/stats")
@requires(Role.VIEWER)
@describes({200: StatsResponse})
def stats() -> Response:
    """Write how the queue stands and how it went."""
    return json_answer(stats_as_json(queue_stats(db.session, now=now())))


def _taken(job: Job) -> Response:
    answer = json_answer(job_as_json(job), 202)
    answer.headers["Location"] = url_for("jobs_api.show", job_id=job.id)
    return answer
