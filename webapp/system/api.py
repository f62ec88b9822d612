"""The facts of this installation over JSON, for admins."""

import os

from flask import Blueprint, Response, current_app

from webapp.clock import now
from webapp.db import db
from webapp.flags.snapshot import flag_store
from webapp.roles import Role
from webapp.system.queries import settings_in_force, system_facts
from webapp.system.responses import SystemResponse
from webapp.system.schemas import system_as_json
from webapp.web.access import requires
from webapp.web.answers import json_answer
from webapp.web.openapi import describes
from webapp.web.requests import current_settings

blueprint = Blueprint("system_api", __name__, url_prefix="/api/v1/system")


@blueprint.get("")
@requires(Role.ADMIN)
@describes({200: SystemResponse})
def show() -> Response:
    """Write the facts of this process, what a look has found, and the settings in force."""
    settings = current_settings()
    facts = system_facts(
        db.session(), settings, flag_store(), started_at=current_app.extensions["started_at"]
    )
    return json_answer(system_as_json(facts, settings_in_force(settings, os.environ), now=now()))
