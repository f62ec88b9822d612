"""The pages of alerts: the list, and one alert with what people do about it."""

from dataclasses import replace
from typing import Final

from flask import Blueprint, Response, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from webapp.alerts import service
from webapp.alerts.forms import LASTS, SilenceForm
from webapp.alerts.guidance import GUIDANCE
from webapp.alerts.page_queries import (
    active_silences,
    breakers_behind,
    list_worst_first,
    silences_of,
)
from webapp.alerts.queries import (
    STATE_GROUPS,
    AlertFilters,
    history_of,
    view_alert,
)
from webapp.alerts.values import AlertState, Severity
from webapp.clock import now
from webapp.db import db
from webapp.errors import Invalid
from webapp.roles import Role
from webapp.web.access import actor, requires
from webapp.web.confirmations import act, asking
from webapp.web.cursors import neighbours, read_cursor, read_search, url_with
from webapp.web.htmx import go_to, render

blueprint = Blueprint("alerts", __name__, url_prefix="/alerts")

STATE_OPTIONS: Final = (
    ("active", "Firing or acknowledged"),
    *((state, "Went away" if state == AlertState.INACTIVE else state.capitalize())
      for state in AlertState),
)  # fmt: skip
SEVERITY_OPTIONS: Final = tuple((name, name.capitalize()) for name in reversed(Severity))


@blueprint.get("")
@requires(Role.VIEWER)
def index() -> Response:
    """List the alerts that the filters in the URL ask for, what fires before all others."""
    filters = AlertFilters(
        state=_known("state", (*AlertState, *STATE_GROUPS)),
        severity=_known("severity", tuple(Severity)),
        key=request.args.get("key", ""),
        text=read_search(),
    )
    moment = now()
    found = list_worst_first(db.session, filters, read_cursor())
    return render(
        "alerts/index.html",
        "alerts/_table.html",
        filters=filters,
        found=found,
        evaluated_at=service.last_evaluation(db.session),
        silences=active_silences(db.session, now=moment),
        state_options=STATE_OPTIONS,
        severity_options=SEVERITY_OPTIONS,
        now=moment,
        **neighbours(found.page),
    )


@blueprint.get("/<int:alert_id>")
@requires(Role.VIEWER)
def show(alert_id: int) -> Response:
    """Show one alert: what was measured, what happened to it, what to do about it."""
    return _page(alert_id, SilenceForm())


@blueprint.post("/<int:alert_id>/acknowledge")
@requires(Role.OPERATOR)
def acknowledge(alert_id: int) -> BaseResponse:
    """Say that one looks after an alert."""
    asked = asking(
        f"Acknowledge alert {alert_id}?",
        "Nobody is told of it again, unless it gets worse.",
        "Acknowledge",
    )
    return act(
        asked,
        f"Alert {alert_id} is acknowledged.",
        url=url_for("alerts.show", alert_id=alert_id),
        verb=lambda by, at: service.acknowledge(
            db.session, alert_id, by=by, now=at, note=asked.reason
        ),
    )


@blueprint.post("/<int:alert_id>/silence")
@requires(Role.OPERATOR)
def silence(alert_id: int) -> BaseResponse:
    """Have nobody told of an alert, and of what is like it, for a while."""
    form, at = SilenceForm.read(request.form), now()
    alert = service.find_alert(db.session, alert_id)
    try:
        draft = form.about(alert.rule, alert.label, at)
        made = service.create_silence(db.session, draft, by=actor(), now=at)
        db.session.commit()
    except Invalid as error:
        db.session.rollback()
        return _page(alert_id, replace(form, errors=_at_fields(error)), status=422)
    until = f"{made.ends_at:%Y-%m-%d %H:%M} UTC"
    return go_to(url_for("alerts.show", alert_id=alert_id), f"Silenced until {until}.")


def _at_fields(error: Invalid) -> dict[str, list[str]]:
    """Return the messages at the fields of this form: what a rule says of itself is said above."""
    errors = {name: list(messages) for name, messages in error.errors.items()}
    for name in ("rule", "label"):
        if name in errors:
            errors.setdefault("covers", []).extend(errors.pop(name))
    return errors


def _page(alert_id: int, form: SilenceForm, *, status: int = 200) -> Response:
    moment = now()
    row = service.find_alert(db.session, alert_id)
    alert = view_alert(row)
    history = history_of(db.session, alert_id, read_cursor())
    return render(
        "alerts/show.html",
        "alerts/_activity.html",
        "alerts/_silence.html",
        status=status,
        alert=alert,
        holding=sorted(row.holding),
        advice=GUIDANCE[alert.metric].advice,
        silences=silences_of(db.session, alert, now=moment),
        breakers=breakers_behind(db.session, alert, now=moment),
        history=history,
        newer=_at(alert_id, "after", history.newer),
        older=_at(alert_id, "before", history.older),
        form=form,
        lasts=LASTS,
        now=moment,
    )


def _at(alert_id: int, cursor: str, row_id: int | None) -> str | None:
    # This page is the answer to a form too, whose address is another.
    path = url_for("alerts.show", alert_id=alert_id)
    changes = {"before": None, "after": None, cursor: row_id}
    return url_with(changes, path) if row_id is not None else None


def _known(name: str, words: tuple[str, ...]) -> str:
    """Read a filter; an address that somebody made up shows everything."""
    value = request.args.get(name, "")
    return value if value in words else ""
