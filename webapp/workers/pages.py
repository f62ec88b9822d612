"""The page Workers, and the button that stops one."""

from flask import Blueprint, url_for
from werkzeug.wrappers import Response

from webapp.clock import now
from webapp.db import db
from webapp.roles import Role
from webapp.web.access import actor, requires
from webapp.web.htmx import done, render
from webapp.web.requests import current_settings
from webapp.workers import service
from webapp.workers.queries import list_workers

blueprint = Blueprint("workers", __name__, url_prefix="/workers")


@blueprint.get("")
@requires(Role.VIEWER)
def index() -> Response:
    """List the consumer processes of the last day."""
    workers = list_workers(db.session, now=now())
    return render(
        "workers/index.html",
        "workers/_table.html",
        workers=workers,
        has_workers=current_settings().has_workers,
    )


@blueprint.post("/<name>/stop")
@requires(Role.OPERATOR)
def stop(name: str) -> Response:
    """Ask a worker to end once its running jobs have."""
    service.request_stop(db.session, name, by=actor(), now=now())
    db.session.commit()
    return done(f"{name} stops after its current jobs.", url=url_for("workers.index"))
