"""The page that enqueues a job, by a form made from the schema of its type."""

from dataclasses import replace

from flask import request, url_for
from werkzeug.wrappers import Response

from webapp.clock import now
from webapp.db import db
from webapp.errors import Conflict, Invalid
from webapp.jobs.forms import EnqueueForm, fields_of
from webapp.jobs.pages import blueprint
from webapp.jobs.registry import JobType, find_open_type, job_types
from webapp.jobs.service import enqueue
from webapp.roles import Role
from webapp.web.access import actor, requires
from webapp.web.htmx import go_to, refused_status, render


@blueprint.get("/new")
@requires(Role.OPERATOR)
def new() -> Response:
    """Show the form of one type, of the first where none is chosen."""
    open_types = [kind for kind in job_types() if not kind.internal]
    name = request.args.get("type") or open_types[0].name
    return _form_page(EnqueueForm(type=name), find_open_type(name))


@blueprint.post("")
@requires(Role.OPERATOR)
def create() -> Response:
    """Enqueue what was typed."""
    form = EnqueueForm.read(request.form)
    kind = find_open_type(form.type)
    try:
        arguments, options = form.typed(kind)
        job = enqueue(db.session, kind.name, arguments, by=actor(), now=now(), **options)
        db.session.commit()
    except (Invalid, Conflict) as error:
        db.session.rollback()
        errors = error.errors if isinstance(error, Invalid) else {"unique_key": [error.detail]}
        return _form_page(replace(form, errors=errors), kind, status=refused_status(error))
    text = f"Job {job.id} is {'scheduled' if job.run_at > now() else 'queued'}."
    return go_to(url_for("jobs.show", job_id=job.id), text)


def _form_page(form: EnqueueForm, kind: JobType, *, status: int = 200) -> Response:
    return render(
        "jobs/new.html",
        "jobs/_form.html",
        status=status,
        form=form,
        kind=kind,
        fields=fields_of(kind),
        types=[(item.name, item.name) for item in job_types() if not item.internal],
    )
