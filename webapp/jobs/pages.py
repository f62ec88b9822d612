"""The pages Jobs and Job."""

from flask import Blueprint, request, url_for
from werkzeug.wrappers import Response

from webapp.clock import now
from webapp.db import db
from webapp.errors import NotFound
from webapp.jobs import queries, service
from webapp.jobs.filters import JobFilters
from webapp.jobs.registry import job_types
from webapp.jobs.values import JobState
from webapp.roles import Role
from webapp.web.access import actor, requires
from webapp.web.cursors import neighbours, read_cursor, read_search
from webapp.web.htmx import done, render

blueprint = Blueprint("jobs", __name__, url_prefix="/jobs")


@blueprint.get("")
@requires(Role.VIEWER)
def index() -> Response:
    """List jobs, newest first."""
    filters = JobFilters(
        state=request.args.get("state", ""),
        type=request.args.get("type", ""),
        text=read_search(),
    )
    page = queries.list_jobs(db.session, filters, read_cursor())
    return render(
        "jobs/index.html",
        "jobs/_table.html",
        page=page,
        filters=filters,
        counts=queries.count_states(db.session),
        states=list(JobState),
        type_options=[(kind.name, kind.name) for kind in job_types()],
        **neighbours(page),
    )


@blueprint.get("/<int:job_id>")
@requires(Role.VIEWER)
def show(job_id: int) -> Response:
    """Show one job with every attempt."""
    row = queries.get_row(db.session, job_id)
    if row is None:
        message = f"There is no job {job_id}."
        raise NotFound(message)
    return render(
        "jobs/show.html",
        "jobs/_job.html",
        row=row,
        job=service.find_job(db.session, job_id),
        attempts=queries.attempts_of(db.session, job_id),
    )


@blueprint.post("/<int:job_id>/retry")
@requires(Role.OPERATOR)
def retry(job_id: int) -> Response:
    """Run a dead or canceled job again, or a waiting one at once."""
    job = service.retry(db.session, job_id, by=actor(), now=now())
    db.session.commit()
    return done(f"Job {job.id} is queued again.", url=url_for("jobs.show", job_id=job_id))


@blueprint.post("/<int:job_id>/cancel")
@requires(Role.ADMIN)
def cancel(job_id: int) -> Response:
    """Cancel a waiting job, or ask a running one to stop."""
    job = service.cancel(db.session, job_id, by=actor(), now=now())
    db.session.commit()
    told = "was canceled" if job.state == JobState.CANCELED else "was asked to stop"
    return done(f"Job {job.id} {told}.", url=url_for("jobs.show", job_id=job_id))
