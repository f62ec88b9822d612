"""The pages of sources: the list, one source with its runs, and the form that adds one."""

from collections.abc import Mapping
from http import HTTPStatus

from flask import Blueprint, Response, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from webapp.clock import now
from webapp.db import db
from webapp.errors import FieldErrors, Invalid
from webapp.jobs.service import enqueue
from webapp.limits.stats import stats_of_sources
from webapp.roles import Role
from webapp.sources import queries
from webapp.sources.previews import Preview, preview
from webapp.sources.service import create_source, find_source
from webapp.web.access import actor, requires
from webapp.web.cursors import neighbours, read_cursor, read_search
from webapp.web.htmx import done, render

blueprint = Blueprint("sources", __name__, url_prefix="/sources")

SAMPLE = 10


@blueprint.get("")
@requires(Role.VIEWER)
def index() -> Response:
    """List the sources with their last runs."""
    text = read_search()
    moment = now()
    sources = queries.list_sources(db.session, text=text)
    return render(
        "sources/index.html",
        "sources/_table.html",
        sources=sources,
        limits=stats_of_sources(db.session, [view.source for view in sources], now=moment),
        q=text,
        now=moment,
    )


@blueprint.get("/new")
@requires(Role.ADMIN)
def new() -> Response:
    """Show the form that adds a source, with the beginning of the file that is asked for."""
    return _form(request.args, errors={})


@blueprint.post("")
@requires(Role.ADMIN)
def create() -> BaseResponse:
    """Add the source that was typed."""
    form = {name: value.strip() for name, value in request.form.items()}
    try:
        source = create_source(
            db.session,
            form.get("name", ""),
            location=form.get("location", ""),
            key_field=form.get("key_field", ""),
            by=actor(),
            now=now(),
        )
    except Invalid as error:
        db.session.rollback()
        return _form(form, errors=error.errors, status=HTTPStatus.UNPROCESSABLE_ENTITY)
    db.session.commit()
    return done(f"{source.name} is added.", url=url_for("sources.show", name=source.name))


@blueprint.get("/<name>")
@requires(Role.VIEWER)
def show(name: str) -> Response:
    """Show one source: its runs, its rate limit, what it rejected, and its first records."""
    moment = now()
    source = find_source(db.session, name)
    page = queries.runs_of(db.session, source, read_cursor())
    newest_page = page.newer is None
    latest = next(iter(page.rows), None) if newest_page else queries.latest_run(db.session, source)
    return render(
        "sources/show.html",
        "sources/_activity.html",
        source=source,
        runs=page,
        latest=latest,
        rejected=queries.rejected_rows(db.session, latest.id, SAMPLE) if latest else (),
        records=queries.first_records(db.session, source, SAMPLE),
        limit=stats_of_sources(db.session, [source], now=moment)[name],
        now=moment,
        **neighbours(page),
    )


@blueprint.post("/<name>/runs")
@requires(Role.OPERATOR)
def run(name: str) -> BaseResponse:
    """Begin a run, unless one is under way."""
    source = find_source(db.session, name)
    moment = now()
    job = enqueue(
        db.session,
        "etl",
        {"source": source.name},
        by=actor(),
        now=moment,
        unique_key=f"etl:{source.name}",
    )
    text = (
        f"Job {job.id} reads {source.name}."
        if job.created_at == moment
        else f"Job {job.id} is reading {source.name} already."
    )
    db.session.commit()
    return done(text, url=url_for("sources.show", name=source.name))


def _form(values: Mapping[str, str], *, errors: FieldErrors, status: int = 200) -> Response:
    location = values.get("location", "").strip()
    found: Preview | None = None
    if location and "location" not in errors:
        try:
            found = preview(location)
        except Invalid as error:
            errors = {**errors, **error.errors}
    return render(
        "sources/new.html",
        "sources/_preview.html",
        status=status,
        location=location,
        preview=found,
        values=values,
        errors=errors,
    )
