"""The page that shows the document of the JSON API."""

from flask import Blueprint, Response

from webapp.roles import Role
from webapp.web.access import requires
from webapp.web.htmx import render

blueprint = Blueprint("reference", __name__, url_prefix="/api/docs")


@blueprint.get("")
@requires(Role.VIEWER)
def index() -> Response:
    """Show every address, what it takes and gives, and let it be tried."""
    return render("reference/index.html")
