"""Breakers over JSON: the same services as the pages, for programs."""

from flask import Blueprint, Response, request

from webapp.breakers import service
from webapp.breakers.queries import (
    events_of,
    list_breakers,
    summarize,
    view_breaker,
)
from webapp.breakers.responses import (
    BreakerResponse,
    BreakersQuery,
    BreakersResponse,
    SummaryResponse,
    TraceResponse,
)
from webapp.breakers.schemas import (
    Forced,
    ThresholdsBody,
    ThresholdsUpdate,
    breaker_as_json,
    event_as_json,
    summary_as_json,
    trace_as_json,
)
from webapp.breakers.trace import drive
from webapp.breakers.values import Thresholds
from webapp.breakers.views import (
    BreakerFilters,
    Place,
    Standing,
)
from webapp.clock import now
from webapp.db import db
from webapp.errors import Invalid
from webapp.paging import Cursor
from webapp.roles import Role
from webapp.web.access import actor, requires
from webapp.web.answers import json_answer
from webapp.web.cursors import read_search
from webapp.web.openapi import describes
from webapp.web.schemas import Reasoned, read_json, read_limit

blueprint = Blueprint("breakers_api", __name__, url_prefix="/api/v1/circuit-breakers")


@blueprint.get("")
@requires(Role.VIEWER)
@describes({200: BreakersResponse}, query=BreakersQuery)
def index() -> Response:
    """List circuits, those that refuse calls first; ``next`` is the ``after`` of the next page."""
    state = request.args.get("state", "")
    if state and state not in Standing.ALL:
        raise Invalid.field("state", f"One of {', '.join(Standing.ALL)}.")
    after = request.args.get("after", "")
    found = list_breakers(
        db.session,
        BreakerFilters(read_search(), state),
        now=now(),
        place=Place.read(after, backwards=False) if after else None,
        limit=read_limit(),
    )
    items = [breaker_as_json(row) for row in found.rows]
    return json_answer({"items": items, "total": found.total, "next": found.next})


@blueprint.get("/metrics/summary")
@requires(Role.VIEWER)
@describes({200: SummaryResponse})
def summary() -> Response:
    """Sum all circuits up."""
    return json_answer(summary_as_json(summarize(db.session, now=now())))


@blueprint.post("/test")
@requires(Role.OPERATOR)
@describes({200: TraceResponse}, body=ThresholdsBody, example={"failures": 3})
def test() -> Response:
    """Drive a scratch breaker through its states; it guards nothing and is stored nowhere."""
    thresholds = Thresholds().with_given(read_json(ThresholdsBody).given())
    return json_answer(trace_as_json(thresholds, drive(thresholds)))


@blueprint.get("/<path:name>")
@requires(Role.VIEWER)
@describes({200: BreakerResponse})
def show(name: str) -> Response:
    """Write one circuit with its newest events."""
    return _answer(name)


@blueprint.put("/<path:name>")
@requires(Role.OPERATOR)
@describes(
    {200: BreakerResponse},
    body=ThresholdsUpdate,
    example={"failures": 8, "reason": "They fail now and then"},
)
def update(name: str) -> Response:
    """Change the thresholds that are given."""
    body = read_json(ThresholdsUpdate)
    row = service.find_breaker(db.session, name)
    service.change_thresholds(
        db.session,
        name,
        body.wanted(),
        by=actor(),
        now=now(),
        reason=body.reason,
        version=row.revision if body.version is None else body.version,
    )
    db.session.commit()
    return _answer(name)


@blueprint.post("/<path:name>/reset")
@requires(Role.OPERATOR)
@describes({200: BreakerResponse}, body=Reasoned, example={"reason": "It is mended"})
def reset(name: str) -> Response:
    """Close a circuit, and end what is forced."""
    body = read_json(Reasoned)
    service.reset(db.session, name, by=actor(), now=now(), reason=body.reason)
    db.session.commit()
    return _answer(name)


@blueprint.post("/<path:name>/force")
@requires(Role.OPERATOR)
@describes(
    {200: BreakerResponse}, body=Forced, example={"force": "open", "reason": "Their maintenance"}
)
def force(name: str) -> Response:
    """Have a circuit refuse all calls, let all through, only watch, or decide by itself again."""
    control = read_json(Forced).control()
    service.force(db.session, name, control, by=actor(), now=now())
    db.session.commit()
    return _answer(name)


def _answer(name: str) -> Response:
    row = service.find_breaker(db.session, name)
    body = breaker_as_json(view_breaker(db.session, row, now=now()))
    events = events_of(db.session, name, Cursor())
    return json_answer(body | {"events": [event_as_json(event) for event in events.rows]})
