"""Rollouts over JSON: what is done to a plan, what guards see, and errors that programs report."""

from typing import Any

from flask import Blueprint, Response

from webapp.clock import now
from webapp.db import db
from webapp.errors import Conflict
from webapp.flags import rollouts
from webapp.flags.progress import guards_of
from webapp.flags.queries import get_flag
from webapp.flags.recording import add_errors
from webapp.flags.responses import FlagResponse, GuardsResponse
from webapp.flags.schemas import (
    ErrorsReport,
    RolloutMove,
    flag_as_json,
    guard_as_json,
    rollout_as_json,
)
from webapp.roles import Role
from webapp.web.access import actor, requires
from webapp.web.answers import json_answer
from webapp.web.openapi import describes
from webapp.web.requests import current_settings, makes
from webapp.web.schemas import read_json

blueprint = Blueprint("flags_rollout_api", __name__, url_prefix="/api/v1/feature-flags")


@blueprint.post("/<name>/rollout/pause")
@requires(Role.OPERATOR)
@describes({200: FlagResponse}, body=RolloutMove, example={"reason": "Support is swamped"})
def pause(name: str) -> Response:
    """Have a plan take no more steps until it is resumed."""
    return _move(name, rollouts.PAUSE)


@blueprint.post("/<name>/rollout/resume")
@requires(Role.OPERATOR)
@describes({200: FlagResponse}, body=RolloutMove, example={"reason": "Mended in 2.4.1"})
def resume(name: str) -> Response:
    """Have a plan go on; its guards begin anew."""
    return _move(name, rollouts.RESUME)


@blueprint.post("/<name>/rollout/skip")
@requires(Role.OPERATOR)
@describes({200: FlagResponse}, body=RolloutMove, example={"reason": "Nothing seen at 5 %"})
def skip(name: str) -> Response:
    """Take the next step of a plan now."""
    return _move(name, rollouts.SKIP)


@blueprint.post("/<name>/rollout/roll-back")
@requires(Role.OPERATOR)
@describes({200: FlagResponse}, body=RolloutMove, example={"reason": "Complaints of checkout"})
def roll_back(name: str) -> Response:
    """Go back to the share of the step before, to nobody where there is none."""
    return _move(name, rollouts.ROLL_BACK)


def _move(name: str, how: rollouts.Move) -> Response:
    body = read_json(RolloutMove)
    flag = rollouts.move_by_hand(
        db.session, name, how, by=actor(), now=now(), reason=body.reason, version=body.version
    )
    db.session.commit()
    return json_answer(flag_as_json(flag))


@blueprint.get("/<name>/guards")
@requires(Role.VIEWER)
@describes({200: GuardsResponse})
def guards(name: str) -> Response:
    """Tell how a rollout stands, what its guards see, and how each tripped last."""
    flag = get_flag(db.session, name)
    views = guards_of(db.session, flag, alpha=current_settings().flag_false_alarm_rate)
    body: dict[str, Any] = {
        "flag_name": flag.name,
        "percentage": float(flag.percentage),
        "rollout": rollout_as_json(flag),
        "guards": [guard_as_json(view) for view in views],
    }
    return json_answer(body)


@blueprint.post("/<name>/errors")
@requires(Role.OPERATOR)
@describes({204: None}, body=ErrorsReport, example={"count": 3})
@makes
def report_errors(name: str) -> Response:
    """Add errors that a program has seen with a flag; the guards of the metric errors count them.

    An operator's, since a guard may set the rollout back for it.
    """
    body = read_json(ErrorsReport)
    flag = get_flag(db.session, name)
    if flag.archived_at is not None:
        raise Conflict(f"The flag {name!r} is archived; restore it first.")
    add_errors(db.session, flag.name, body.count, now=now())
    db.session.commit()
    return Response(status=204)
