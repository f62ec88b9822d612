"""The pages of breakers: all of them, and one with its history and what may be done to it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from flask import Blueprint, request, url_for
from werkzeug.wrappers import Response

from webapp.breakers import service
from webapp.breakers.forms import DURATIONS, FORCES, LABELS, ForceForm, ThresholdsForm
from webapp.breakers.queries import (
    events_of,
    list_breakers,
    view_breaker,
)
from webapp.breakers.values import Control, Force
from webapp.breakers.views import (
    BreakerFilters,
    Place,
    Standing,
)
from webapp.clock import now
from webapp.db import db
from webapp.errors import Conflict, Invalid
from webapp.limits.service import lift_pause
from webapp.limits.stats import stats_of
from webapp.roles import Role
from webapp.web.access import actor, requires
from webapp.web.confirmations import act, asking
from webapp.web.cursors import neighbours, read_cursor, read_search, url_with
from webapp.web.htmx import go_to, refused_status, render

blueprint = Blueprint("breakers", __name__, url_prefix="/breakers")


@blueprint.get("")
@requires(Role.VIEWER)
def index() -> Response:
    """List the circuits that the filters in the URL ask for, those that refuse calls first."""
    moment = now()
    filters = BreakerFilters(read_search(), request.args.get("state", ""))
    found = list_breakers(db.session, filters, now=moment, place=_read_place())
    return render(
        "breakers/index.html",
        "breakers/_table.html",
        filters=filters,
        found=found,
        previous_url=_at("before", found.previous),
        next_url=_at("after", found.next),
        states=Standing.ALL,
        now=moment,
    )


@blueprint.get("/<path:name>")
@requires(Role.VIEWER)
def show(name: str) -> Response:
    """Show one circuit: its calls by minute, its history, its thresholds."""
    return _page(name)


@blueprint.post("/<path:name>/reset")
@requires(Role.OPERATOR)
def reset(name: str) -> Response:
    """Close a circuit by hand."""
    asked = asking(
        f"Reset {name}?",
        "Calls go through again in every process within a second, and what was forced ends.",
        "Reset breaker",
    )
    return act(
        asked,
        f"{name} is closed again.",
        url=url_for("breakers.show", name=name),
        verb=lambda by, at: service.reset(db.session, name, by=by, now=at, reason=asked.reason),
    )


@blueprint.post("/<path:name>/force")
@requires(Role.OPERATOR)
def force(name: str) -> Response:
    """Have a circuit refuse all calls, let all through, or only watch."""
    form, at = ForceForm.read(request.form), now()
    try:
        service.force(db.session, name, form.control(at), by=actor(), now=at)
        db.session.commit()
    except Invalid as error:
        db.session.rollback()
        return _page(name, forcing=replace(form, errors=error.errors), status=422)
    words = dict(FORCES)[Force(form.force)]
    return go_to(url_for("breakers.show", name=name), f"{name}: {words[0].lower()}{words[1:]}.")


@blueprint.post("/<path:name>/release")
@requires(Role.OPERATOR)
def release(name: str) -> Response:
    """Let a circuit decide by itself again."""
    asked = asking(
        f"End what is forced on {name}?",
        "It begins closed, with nothing counted, and decides by itself.",
        "End it",
    )
    control = Control(force=Force.NONE, reason=asked.reason)
    return act(
        asked,
        f"{name} decides by itself again.",
        url=url_for("breakers.show", name=name),
        verb=lambda by, at: service.force(db.session, name, control, by=by, now=at),
    )


@blueprint.post("/<path:name>/pause/lift")
@requires(Role.OPERATOR)
def lift(name: str) -> Response:
    """Let calls go out again before the pause of their rate limit is over."""
    service.find_breaker(db.session, name)
    asked = asking(
        f"Lift the pause of {name}?",
        "It is called again at once, whatever it has asked for.",
        "Lift pause",
    )
    return act(
        asked,
        f"The pause of {name} is lifted.",
        url=url_for("breakers.show", name=name),
        verb=lambda by, at: lift_pause(db.session, name, by=by, now=at, reason=asked.reason),
    )


@blueprint.post("/<path:name>/thresholds")
@requires(Role.OPERATOR)
def set_thresholds(name: str) -> Response:
    """Put the thresholds that were typed before those in code."""
    form = ThresholdsForm.read(request.form)
    try:
        _change(name, form.given(), form)
    except (Invalid, Conflict) as error:
        db.session.rollback()
        return _page(name, form=_refused(name, form, error), status=refused_status(error))
    return go_to(url_for("breakers.show", name=name), f"The thresholds of {name} are saved.")


@blueprint.post("/<path:name>/thresholds/restore")
@requires(Role.OPERATOR)
def restore_thresholds(name: str) -> Response:
    """Go back to the thresholds in code."""
    asked = asking(
        f"Go back to the thresholds in code for {name}?",
        "What was changed here is dropped; every process follows within a second.",
        "Go back",
    )
    row = service.find_breaker(db.session, name)
    return act(
        asked,
        f"{name} opens and closes as the code says.",
        url=url_for("breakers.show", name=name),
        verb=lambda by, at: service.change_thresholds(
            db.session, name, None, by=by, now=at, reason=asked.reason, version=row.revision
        ),
    )


def _change(name: str, given: Mapping[str, Any], form: ThresholdsForm) -> None:
    service.change_thresholds(
        db.session,
        name,
        given,
        by=actor(),
        now=now(),
        reason=form.reason,
        version=form.based_on(),
    )
    db.session.commit()


def _refused(name: str, form: ThresholdsForm, error: Invalid | Conflict) -> ThresholdsForm:
    """Put the messages at their fields; who was overtaken may save over what changed."""
    if isinstance(error, Invalid):
        problem = "" if error.errors else error.detail
        return replace(form, errors=error.errors, problem=problem)
    revision = service.find_breaker(db.session, name).revision
    problem = f"{error.detail} Look at its history; save again to replace that."
    return replace(form, version=str(revision), problem=problem)


def _page(
    name: str,
    *,
    form: ThresholdsForm | None = None,
    forcing: ForceForm | None = None,
    status: int = 200,
) -> Response:
    moment = now()
    row = service.find_breaker(db.session, name)
    breaker = view_breaker(db.session, row, now=moment)
    events = events_of(db.session, name, read_cursor())
    return render(
        "breakers/show.html",
        "breakers/_activity.html",
        "breakers/_thresholds.html",
        "breakers/_force.html",
        status=status,
        breaker=breaker,
        pause=stats_of(db.session, [name], now=moment)[name].pause,
        events=events,
        neighbours=neighbours(events),
        form=form or ThresholdsForm.of(breaker.thresholds, breaker.revision),
        forcing=forcing or ForceForm(),
        labels=LABELS,
        forces=FORCES,
        durations=DURATIONS,
        now=moment,
    )


def _read_place() -> Place | None:
    for name, backwards in (("before", True), ("after", False)):
        if text := request.args.get(name, ""):
            try:
                return Place.read(text, backwards=backwards)
            except Invalid:
                # An address that somebody cut short shows the beginning.
                return None
    return None


def _at(name: str, place: str | None) -> str | None:
    if place is None:
        return None
    return url_with({"before": None, "after": None} | {name: place})
