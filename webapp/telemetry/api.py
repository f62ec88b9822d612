"""Metrics over HTTP: Prometheus' text for whoever scrapes, and JSON for programs."""

import ipaddress
import math

from flask import Blueprint, Response, current_app, request
from werkzeug.exceptions import Unauthorized

from webapp.clock import now
from webapp.db import db
from webapp.errors import Forbidden
from webapp.flags.snapshot import flag_store
from webapp.roles import Role
from webapp.telemetry.exposition import CONTENT_TYPE, exposition
from webapp.telemetry.figures import figures_as_json
from webapp.telemetry.standing import Standing, StandingBook
from webapp.web.access import principal, public, requires
from webapp.web.answers import json_answer
from webapp.web.requests import current_settings

blueprint = Blueprint("telemetry", __name__)

# A request that came through a proxy says so, whatever machine the proxy is on.
_FORWARDED = ("X-Forwarded-For", "X-Real-IP", "Forwarded")


@blueprint.get("/metrics")
@blueprint.get("/observability/metrics")
@public
def metrics() -> Response:
    """Write every metric of this host, to this machine or to whoever may read."""
    _refuse_strangers()
    response = Response(exposition(_standing), content_type=CONTENT_TYPE)
    response.headers["Cache-Control"] = "no-store"
    return response


@blueprint.get("/observability/metrics/json")
@requires(Role.VIEWER)
def figures() -> Response:
    """Write the runs of sources, what they read and how it changed, rate limits and breakers."""
    response = json_answer(figures_as_json(db.session, now=now()))
    response.headers["Cache-Control"] = "no-store"
    return response


def _refuse_strangers() -> None:
    if current_settings().metrics_public or _is_from_here():
        return
    role = principal().role
    if role is None:
        raise Unauthorized(www_authenticate=None)
    if not role.allows(Role.VIEWER):
        message = f"This needs the role {Role.VIEWER}."
        raise Forbidden(message)


def _is_from_here() -> bool:
    if any(name in request.headers for name in _FORWARDED):
        return False
    try:
        return ipaddress.ip_address(request.remote_addr or "").is_loopback
    except ValueError:
        return False


def _standing() -> Standing:
    book: StandingBook = current_app.extensions["standing_book"]
    age = flag_store().status().age
    return Standing(**book.facts(db.engine, now=now), flags_age=age if math.isfinite(age) else None)
