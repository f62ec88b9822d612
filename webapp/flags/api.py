"""Flags over JSON: the same services as the pages, for programs.

Evaluation stands in ``evaluation_api``, export and import in ``transfer_api``.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from flask import Blueprint, Response, request, url_for

from webapp.audit.service import history, history_length
from webapp.clock import now
from webapp.db import db, reading
from webapp.errors import Forbidden, Invalid
from webapp.flags import service
from webapp.flags.environments import environment_to_ask
from webapp.flags.explanation import explain
from webapp.flags.figures import DAY_HOURS, MAX_HOURS, usage_of
from webapp.flags.queries import MAX_SKIP, FlagFilters, get_flag, list_flags, load_flags
from webapp.flags.relations import known_to
from webapp.flags.responses import (
    ExplanationResponse,
    FlagChangeResponse,
    FlagRemovalQuery,
    FlagResponse,
    FlagsQuery,
    HoursQuery,
    UsageResponse,
)
from webapp.flags.schemas import (
    FlagUpdate,
    NewFlag,
    Question,
    entry_as_json,
    explanation_as_json,
    flag_as_json,
    usage_as_json,
)
from webapp.flags.snapshot import flag_store
from webapp.flags.values import (
    OPERATOR_FIELDS,
    EvaluationContext,
    FlagState,
    RolloutState,
    subject_id,
)
from webapp.paging import COUNT_CAP
from webapp.roles import Role
from webapp.web.access import actor, principal, requires
from webapp.web.answers import json_answer
from webapp.web.cursors import read_search
from webapp.web.openapi import Collection, CountedCollection, WindowQuery, describes
from webapp.web.requests import makes
from webapp.web.schemas import (
    Removal,
    read_choice,
    read_json,
    read_removal,
    read_whole,
    read_window,
)

blueprint = Blueprint("flags_api", __name__, url_prefix="/api/v1/feature-flags")


@blueprint.get("")
@requires(Role.VIEWER)
@describes({200: Collection[FlagResponse]}, query=FlagsQuery)
def index() -> Response:
    """List flags with their lists of ids, by name."""
    filters = FlagFilters(
        q=read_search(),
        state=_wanted_one("state", FlagState),
        rollout=_wanted_one("rollout", RolloutState),
        environment=request.args.get("environment", ""),
        tag=request.args.get("tag", ""),
        group=request.args.get("group", ""),
        enabled=_wanted_truth("enabled"),
        archived=_wanted_truth("archived"),
        stale=_wanted_truth("stale"),
    )
    skip, limit = read_window(MAX_SKIP)
    counting = flag_store().usage is not None
    found = list_flags(db.session, filters, now=now(), counting=counting, skip=skip, limit=limit)
    flags = load_flags(db.session, [row.name for row in found.rows])
    return json_answer({"items": [flag_as_json(flag) for flag in flags], "total": found.total})


@blueprint.post("")
@requires(Role.ADMIN)
@describes(
    {201: FlagResponse},
    body=NewFlag,
    example={"name": "checkout.express", "percentage": 25, "reason": "A first quarter"},
)
@makes
def create() -> Response:
    """Make a flag."""
    body = read_json(NewFlag)
    flag = service.create_flag(db.session, body.draft(), by=actor(), now=now(), reason=body.reason)
    db.session.commit()
    response = json_answer(flag_as_json(flag), status=201)
    response.headers["Location"] = url_for("flags_api.show", name=flag.name)
    return response


@blueprint.get("/<name>")
@requires(Role.VIEWER)
@describes({200: FlagResponse})
def show(name: str) -> Response:
    """Write one flag."""
    return json_answer(flag_as_json(get_flag(db.session, name)))


@blueprint.get("/metrics/<name>")
@requires(Role.VIEWER)
@describes({200: UsageResponse}, query=HoursQuery)
def metrics(name: str) -> Response:
    """Write how often a flag was asked, by hour and answer."""
    hours = read_whole("hours", DAY_HOURS, 1, MAX_HOURS)
    flag = get_flag(db.session, name)
    usage = usage_of(db.session, flag.name, hours=hours, now=now())
    return json_answer(usage_as_json(flag.name, usage))


@blueprint.put("/<name>")
@requires(Role.OPERATOR)
@describes(
    {200: FlagResponse}, body=FlagUpdate, example={"percentage": 50, "reason": "Error rate is flat"}
)
def update(name: str) -> Response:
    """Change the fields given; operators the rollout and the switch, admins everything."""
    body = read_json(FlagUpdate)
    changes = body.changes()
    _refuse_beyond_role(changes.given())
    flag = service.change_flag(
        db.session,
        name,
        changes,
        by=actor(),
        now=now(),
        reason=body.reason,
        version=body.version,
    )
    db.session.commit()
    return json_answer(flag_as_json(flag))


@blueprint.delete("/<name>")
@requires(Role.ADMIN)
@describes({200: FlagResponse, 204: None}, body=Removal, query=FlagRemovalQuery)
def delete(name: str) -> Response:
    """Archive a flag, or remove an archived one for good; why stands in the body or the query."""
    wanted = read_removal()
    remove = service.purge_flag if read_choice("purge") else service.archive_flag
    flag = remove(
        db.session, name, by=actor(), now=now(), reason=wanted.reason, version=wanted.version
    )
    db.session.commit()
    return json_answer(flag_as_json(flag)) if flag else Response(status=204)


@blueprint.post("/<name>/explain")
@requires(Role.VIEWER)
@describes({200: ExplanationResponse}, body=Question)
def explain_flag(name: str) -> Response:
    """Tell every step of a decision, from the flag as it is stored."""
    question = read_json(Question)
    context = EvaluationContext(
        subject_id(question.user_id),
        environment_to_ask(question.environment, bound=principal().environment)
        or flag_store().environment,
        now(),
        question.attributes,
    )
    # A question, though it is a POST: it does not wait for whoever writes.
    with reading() as session:
        flag = next(iter(load_flags(session, [name])), None)
        known = known_to(session, flag)
    archived = flag is not None and flag.archived_at is not None
    definition = flag.definition() if flag else None
    explanation = explain(definition, context, known=known, archived=archived)
    return json_answer(explanation_as_json(name, explanation))


@blueprint.get("/<name>/audit")
@requires(Role.VIEWER)
@describes({200: CountedCollection[FlagChangeResponse]}, query=WindowQuery)
def audit(name: str) -> Response:
    """List a flag's changes, newest first; of a flag that was removed for good as well."""
    skip, limit = read_window(MAX_SKIP)
    total = history_length(db.session, "flag", name)
    if not total:
        get_flag(db.session, name)
    entries = history(db.session, "flag", name, limit, skip=skip)
    return json_answer(
        {
            "items": [entry_as_json(entry) for entry in entries],
            "total": min(total, COUNT_CAP),
            "capped": total > COUNT_CAP,
        }
    )


def _refuse_beyond_role(changes: Mapping[str, Any]) -> None:
    beyond = sorted(changes.keys() - OPERATOR_FIELDS)
    role = principal().role
    if beyond and not (role and role.allows(Role.ADMIN)):
        raise Forbidden(f"This needs the role admin: {', '.join(beyond)}.")


def _wanted_one(name: str, states: type[StrEnum]) -> str:
    wanted = request.args.get(name, "")
    if wanted and wanted not in set(states):
        raise Invalid.field(name, f"One of {', '.join(states)}.")
    return wanted


def _wanted_truth(name: str) -> str:
    wanted = request.args.get(name, "")
    if wanted not in {"", "true", "false"}:
        raise Invalid.field(name, "Either true or false.")
    return wanted
