"""The Breakers page: every circuit, and its reset."""

from flask import Blueprint, request, url_for
from werkzeug.wrappers import Response

from webapp.breakers import service
from webapp.breakers.queries import breaker_rows
from webapp.clock import now
from webapp.db import db
from webapp.roles import Role
from webapp.web.access import actor, requires
from webapp.web.htmx import done, render

blueprint = Blueprint("breakers", __name__)


@blueprint.get("/breakers")
@requires(Role.VIEWER)
def index() -> Response:
    """Show every circuit, those that are not closed first."""
    moment = now()
    return render(
        "breakers/index.html",
        "breakers/_table.html",
        breakers=breaker_rows(db.session, now=moment),
        now=moment,
    )


@blueprint.post("/breakers/<path:name>/reset")
@requires(Role.OPERATOR)
def reset(name: str) -> Response:
    """Close a circuit by hand."""
    reason = request.form.get("reason", "")
    service.reset(db.session, name, by=actor(), now=now(), reason=reason)
    db.session.commit()
    return done(f"{name} is closed again.", url=url_for("breakers.index"))
