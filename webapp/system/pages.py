"""The page System: what this installation is made of, and for admins what it is set to."""

import os

from flask import Blueprint, Response, current_app

from webapp.db import db
from webapp.flags.snapshot import flag_store
from webapp.roles import Role
from webapp.system.queries import settings_in_force, system_facts
from webapp.web.access import may, requires
from webapp.web.htmx import render
from webapp.web.requests import current_settings

blueprint = Blueprint("system", __name__, url_prefix="/settings/system")


@blueprint.get("")
@requires(Role.VIEWER)
def index() -> Response:
    """Show what there is to know of this process and what it works with."""
    settings = current_settings()
    return render(
        "system/index.html",
        facts=system_facts(
            db.session(), settings, flag_store(), started_at=current_app.extensions["started_at"]
        ),
        in_force=settings_in_force(settings, os.environ) if may(Role.ADMIN) else (),
    )
