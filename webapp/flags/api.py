"""Flags over JSON: evaluation for apps, and the same services as the pages for programs."""

from collections.abc import Mapping
from time import perf_counter
from typing import Any

import orjson
from flask import Blueprint, Response, request, url_for

from webapp.clock import now
from webapp.db import db
from webapp.errors import Forbidden, Invalid, Unavailable
from webapp.flags import service
from webapp.flags.decorators import evaluate
from webapp.flags.environments import environment_to_ask
from webapp.flags.figures import DAY_HOURS, MAX_HOURS, usage_of
from webapp.flags.queries import MAX_SKIP, FlagFilters, get_flag, list_flags, load_flags
from webapp.flags.schemas import FlagUpdate, NewFlag, Question, flag_as_json, usage_as_json
from webapp.flags.snapshot import flag_store
from webapp.flags.values import OPERATOR_FIELDS, FlagState
from webapp.roles import Role
from webapp.web.access import actor, evaluation, principal, requires
from webapp.web.schemas import parse_json, read_json

blueprint = Blueprint("flags_api", __name__, url_prefix="/api/v1/feature-flags")

DEFAULT_LIMIT = 50
MAX_LIMIT = 500
_MOST_DIGITS = len(str(MAX_SKIP))


@blueprint.post("/<name>/evaluate")
@evaluation
def evaluate_flag(name: str) -> Response:
    """Decide a flag for the subject in the body."""
    return _answer(name, read_json(Question))


@blueprint.post("/<name>/check")
@evaluation
def check_flag(name: str) -> Response:
    """Answer as evaluate does, under the name that older clients call."""
    return _answer(name, read_json(Question))


@blueprint.get("/<name>/check")
@evaluation
def check_flag_by_query(name: str) -> Response:
    """Decide a flag for the subject in the query."""
    asked = {key: request.args[key] for key in ("user_id", "environment") if key in request.args}
    return _answer(name, parse_json(Question, orjson.dumps(asked)))


@blueprint.get("")
@requires(Role.VIEWER)
def index() -> Response:
    """List flags with their lists of ids, by name."""
    filters = FlagFilters(
        q=request.args.get("q", ""),
        state=_wanted_state(),
        environment=request.args.get("environment", ""),
        tag=request.args.get("tag", ""),
        stale=_wanted_staleness(),
    )
    skip, limit = _whole("skip", 0, 0, MAX_SKIP), _whole("limit", DEFAULT_LIMIT, 1, MAX_LIMIT)
    counting = flag_store().usage is not None
    found = list_flags(db.session, filters, now=now(), counting=counting, skip=skip, limit=limit)
    flags = load_flags(db.session, [row.name for row in found.rows])
    return _json({"items": [flag_as_json(flag) for flag in flags], "total": found.total})


@blueprint.post("")
@requires(Role.ADMIN)
def create() -> Response:
    """Make a flag."""
    body = read_json(NewFlag)
    flag = service.create_flag(db.session, body.draft(), by=actor(), now=now(), reason=body.reason)
    db.session.commit()
    response = _json(flag_as_json(flag), status=201)
    response.headers["Location"] = url_for("flags_api.show", name=flag.name)
    return response


@blueprint.get("/<name>")
@requires(Role.VIEWER)
def show(name: str) -> Response:
    """Write one flag."""
    return _json(flag_as_json(get_flag(db.session, name)))


@blueprint.get("/metrics/<name>")
@requires(Role.VIEWER)
def metrics(name: str) -> Response:
    """Write how often a flag was asked, by hour and answer."""
    hours = _whole("hours", DAY_HOURS, 1, MAX_HOURS)
    flag = get_flag(db.session, name)
    usage = usage_of(db.session, flag.name, hours=hours, now=now())
    return _json(usage_as_json(flag.name, usage))


@blueprint.put("/<name>")
@requires(Role.OPERATOR)
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
    return _json(flag_as_json(flag))


def _answer(name: str, question: Question) -> Response:
    started = perf_counter()
    if not flag_store().status().loaded:
        raise Unavailable("No flag could be read yet: the database is away.")
    decision = evaluate(
        name,
        question.user_id,
        environment=environment_to_ask(question.environment, bound=principal().environment),
        attributes=question.attributes,
    )
    return _json(
        {
            "flag_name": name,
            "enabled": decision.enabled,
            "reason": decision.reason,
            "variant": decision.variant,
            "evaluation_time_ms": round((perf_counter() - started) * 1000, 4),
        }
    )


def _refuse_beyond_role(changes: Mapping[str, Any]) -> None:
    beyond = sorted(changes.keys() - OPERATOR_FIELDS)
    role = principal().role
    if beyond and not (role and role.allows(Role.ADMIN)):
        raise Forbidden(f"This needs the role admin: {', '.join(beyond)}.")


def _wanted_state() -> str:
    state = request.args.get("state", "")
    if state and state not in set(FlagState):
        raise Invalid.field("state", f"One of {', '.join(FlagState)}.")
    return state


def _wanted_staleness() -> str:
    stale = request.args.get("stale", "")
    if stale not in {"", "true", "false"}:
        raise Invalid.field("stale", "true or false.")
    return stale


def _whole(name: str, default: int, least: int, most: int) -> int:
    raw = request.args.get(name, str(default))
    # The length first: reading thousands of digits is work, and beyond some it is an error.
    is_whole = len(raw) <= _MOST_DIGITS and raw.isascii() and raw.isdigit()
    if not is_whole or not least <= int(raw) <= most:
        raise Invalid.field(name, f"A whole number from {least} to {most}.")
    return int(raw)


def _json(body: Mapping[str, Any], status: int = 200) -> Response:
    data = orjson.dumps(body, default=_written, option=orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS)
    return Response(data, status, content_type="application/json")


def _written(value: Any) -> Any:
    """Write what orjson does not know: read-only mappings."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
