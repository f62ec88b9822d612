"""The pages Jobs and Job."""

from flask import Blueprint, request, url_for
from werkzeug.wrappers import Response

from webapp.clock import now
from webapp.db import db
from webapp.jobs import queries, service
from webapp.jobs.batching import batch_of
from webapp.jobs.bulk import BulkAction
from webapp.jobs.control import find_paused_queues, find_settings
from webapp.jobs.figures import throughput
from webapp.jobs.filters import JobFilters
from webapp.jobs.models import Job
from webapp.jobs.registry import job_types
from webapp.jobs.snippets import curl
from webapp.jobs.values import JobState
from webapp.logs import masked
from webapp.roles import Role
from webapp.web.access import may, requires
from webapp.web.cursors import neighbours, read_cursor, read_search
from webapp.web.htmx import render

blueprint = Blueprint("jobs", __name__, url_prefix="/jobs")

#: Lines of a job's log on its page; the API has them all.
LINES = 200
ACTIONS = (
    (BulkAction.RETRY, "Retry"),
    (BulkAction.RUN_NOW, "Run now"),
    (BulkAction.REPRIORITIZE, "Change priority"),
    (BulkAction.CANCEL, "Cancel"),
)


@blueprint.get("")
@requires(Role.VIEWER)
def index() -> Response:
    """List the jobs that the filters in the URL ask for, newest first where nothing else is said.

    What only a part of the page needs is asked for by that part.
    """
    filters = JobFilters.read(request.args.to_dict() | {"text": read_search()})
    sort = "id" if request.args.get("sort") == "id" else "-id"
    page = queries.list_jobs(db.session, filters, read_cursor(oldest_first=sort == "id"))
    return render(
        "jobs/index.html",
        "jobs/_table.html",
        "jobs/_chart.html",
        page=page,
        filters=filters,
        sort=sort,
        states=list(JobState),
        counts=lambda: queries.count_states(db.session),
        steps=lambda: throughput(db.session, now=now(), type_name=filters.type),
        queues=lambda: _queues(filters),
        pauses=pauses,
        type_options=[(kind.name, kind.name) for kind in job_types()],
        bulk_actions=[pair for pair in ACTIONS if may_do(pair[0])],
        **neighbours(page),
    )


@blueprint.get("/<int:job_id>")
@requires(Role.VIEWER)
def show(job_id: int) -> Response:
    """Show one job with every attempt, its log and the jobs around it."""
    job = service.find_job(db.session, job_id)
    return render(
        "jobs/show.html",
        "jobs/_job.html",
        row=queries.row_of(job),
        job=job,
        attempts=queries.attempts_of(db.session, job_id),
        lines=queries.log_of(db.session, job_id, LINES),
        most_lines=LINES,
        around=queries.neighbours_of(db.session, job_id),
        batch=batch_of(db.session, job.batch_id),
        pauses=lambda: [item for item in pauses() if item[1] in {job.queue, job.type}],
        snippet=_snippet(job),
    )


def may_do(action: BulkAction) -> bool:
    """Tell whether whoever asks may do this to jobs."""
    return may(Role.ADMIN if action == BulkAction.CANCEL else Role.OPERATOR)


def pauses() -> list[tuple[str, str, str, str]]:
    """Return what is paused: its kind, its name, by whom and why."""
    queues = find_paused_queues(db.session).values()
    types = find_settings(db.session).values()
    told = [("queue", item.name, item.paused_by or "", item.reason or "") for item in queues]
    return told + [
        ("type", item.type, item.paused_by or "", item.reason or "")
        for item in types
        if item.paused_at is not None
    ]


def _queues(filters: JobFilters) -> list[tuple[str, str]]:
    """Return the queues to choose from: those of the types, and those in which something waits."""
    names = {kind.queue for kind in job_types()} | set(queries.queue_names(db.session))
    return [(name, name) for name in sorted(names | ({filters.queue} - {""}))]


def _snippet(job: Job) -> str:
    url = url_for("jobs_api.enqueue", type_name=job.type, _external=True)
    options = {"priority": job.priority, "queue": job.queue}
    return curl(url, masked(job.arguments), options)
