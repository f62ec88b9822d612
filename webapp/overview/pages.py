"""The page Overview."""

from flask import Blueprint
from werkzeug.wrappers import Response

from webapp.clock import now
from webapp.db import db
from webapp.overview.queries import get_overview
from webapp.roles import Role
from webapp.web.access import requires
from webapp.web.htmx import render
from webapp.web.requests import current_settings

blueprint = Blueprint("overview", __name__)


@blueprint.get("/")
@requires(Role.VIEWER)
def index() -> Response:
    """Show how everything stands."""
    moment = now()
    has_workers = current_settings().has_workers
    overview = get_overview(db.session, now=moment, has_workers=has_workers)
    return render("overview/index.html", "overview/_figures.html", overview=overview, now=moment)
