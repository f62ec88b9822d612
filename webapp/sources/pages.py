"""The pages of sources: the list, and one source with its runs."""

from flask import Blueprint, Response, url_for
from werkzeug.wrappers import Response as BaseResponse

from webapp.clock import now
from webapp.db import db
from webapp.limits.stats import stats_of_sources
from webapp.roles import Role
from webapp.sources import queries
from webapp.sources.definitions import draft_of
from webapp.sources.drift_queries import fields_of, shown_drifts
from webapp.sources.service import find_source, start_run
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


@blueprint.get("/<name>")
@requires(Role.VIEWER)
def show(name: str) -> Response:
    """Show one source: its runs, fields and rate limit, what it rejected, its first records."""
    moment = now()
    source = find_source(db.session, name)
    page = queries.runs_of(db.session, source, read_cursor())
    newest_page = page.newer is None
    latest = next(iter(page.rows), None) if newest_page else queries.latest_run(db.session, source)
    return render(
        "sources/show.html",
        "sources/_activity.html",
        source=source,
        options=draft_of(source).options,
        runs=page,
        latest=latest,
        rejected=queries.rejected_rows(db.session, latest.id, SAMPLE) if latest else (),
        records=queries.first_records(db.session, source, SAMPLE),
        limit=stats_of_sources(db.session, [source], now=moment)[name],
        drifts=shown_drifts(db.session, source),
        fields=fields_of(source),
        now=moment,
        **neighbours(page),
    )


@blueprint.post("/<name>/runs")
@requires(Role.OPERATOR)
def run(name: str) -> BaseResponse:
    """Begin a run, unless one is under way."""
    started = start_run(db.session, name, by=actor(), now=now())
    db.session.commit()
    words = f"reads {name}." if started.new else f"is reading {name} already."
    return done(f"Job {started.job_id} {words}", url=url_for("sources.show", name=name))
