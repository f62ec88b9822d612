"""The page Workers."""

from flask import Blueprint
from werkzeug.wrappers import Response

from webapp.clock import now
from webapp.db import db
from webapp.roles import Role
from webapp.web.access import requires
from webapp.web.htmx import render
from webapp.workers.queries import list_workers

blueprint = Blueprint("workers", __name__, url_prefix="/workers")


@blueprint.get("")
@requires(Role.VIEWER)
def index() -> Response:
    """List the consumer processes of the last day."""
    workers = list_workers(db.session, now=now())
    return render("workers/index.html", "workers/_table.html", workers=workers)
