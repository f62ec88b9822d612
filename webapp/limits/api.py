"""Rate limits over JSON: how they stand, how often a source may be called, and lifting a pause."""

from flask import Blueprint, Response

from webapp.clock import now
from webapp.db import db
from webapp.limits.responses import LiftQuery, LimitResponse
from webapp.limits.schemas import LimitBody, stats_as_json
from webapp.limits.service import lift_pause
from webapp.limits.stats import find_stats, list_stats
from webapp.roles import Role
from webapp.sources.service import set_rate_limit
from webapp.web.access import actor, requires
from webapp.web.answers import json_answer
from webapp.web.openapi import Collection, WindowQuery, describes
from webapp.web.schemas import Removal, read_json, read_removal, read_window

blueprint = Blueprint("limits_api", __name__, url_prefix="/api/v1/rate-limits")


@blueprint.get("")
@requires(Role.VIEWER)
@describes({200: Collection[LimitResponse]}, query=WindowQuery)
def index() -> Response:
    """List rate limits by name."""
    skip, limit = read_window()
    found, total = list_stats(db.session, now=now(), skip=skip, limit=limit)
    return json_answer({"items": [stats_as_json(stats) for stats in found], "total": total})


@blueprint.get("/<path:name>")
@requires(Role.VIEWER)
@describes({200: LimitResponse})
def show(name: str) -> Response:
    """Write how one limit stands."""
    return _answer(name)


@blueprint.put("/<path:name>")
@requires(Role.ADMIN)
@describes(
    {200: LimitResponse},
    body=LimitBody,
    example={"calls": 100, "seconds": 60, "reason": "Their terms of use"},
)
def update(name: str) -> Response:
    """Say how often a source may be called."""
    body = read_json(LimitBody)
    set_rate_limit(
        db.session,
        name,
        calls=body.calls,
        seconds=body.seconds,
        by=actor(),
        now=now(),
        reason=body.reason,
    )
    db.session.commit()
    return _answer(name)


@blueprint.delete("/<path:name>/pause")
@requires(Role.OPERATOR)
@describes({204: None}, body=Removal, query=LiftQuery)
def lift(name: str) -> Response:
    """Let calls through again; why stands in the body or the query."""
    wanted = read_removal()
    known = find_stats(db.session, name, now=now()).name
    lift_pause(db.session, known, by=actor(), now=now(), reason=wanted.reason)
    db.session.commit()
    return Response(status=204)


def _answer(name: str) -> Response:
    return json_answer(stats_as_json(find_stats(db.session, name, now=now())))
