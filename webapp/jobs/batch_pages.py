"""The pages Batches and Batch."""

from flask import Blueprint
from werkzeug.wrappers import Response

from webapp.db import db
from webapp.jobs import batching
from webapp.jobs.values import JobState
from webapp.roles import Role
from webapp.web.access import requires
from webapp.web.cursors import neighbours, read_cursor
from webapp.web.htmx import render

blueprint = Blueprint("batches", __name__, url_prefix="/jobs/batches")


@blueprint.get("")
@requires(Role.VIEWER)
def index() -> Response:
    """List batches, newest first."""
    page = batching.list_batches(db.session, read_cursor())
    return render("batches/index.html", "batches/_table.html", page=page, **neighbours(page))


@blueprint.get("/<int:batch_id>")
@requires(Role.VIEWER)
def show(batch_id: int) -> Response:
    """Show how far a batch has come, and what is to follow it."""
    row = batching.find_batch(db.session, batch_id)
    return render("batches/show.html", "batches/_batch.html", row=row, states=list(JobState))
