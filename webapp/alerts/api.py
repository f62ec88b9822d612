"""Alerts over JSON: what fires, rules, silences."""

from flask import Blueprint, Response, request, url_for

from webapp.alerts import service
from webapp.alerts.previewing import preview
from webapp.alerts.queries import (
    STATE_GROUPS,
    AlertFilters,
    history_of,
    list_alerts,
    list_rules,
    list_silences,
    view_alert,
    view_rule,
    view_silence,
)
from webapp.alerts.responses import (
    AlertDetailsResponse,
    AlertResponse,
    AlertRulePreviewResponse,
    AlertRuleResponse,
    AlertSilenceResponse,
    AlertsQuery,
    AlertTransitionResponse,
    RuleRemovalQuery,
    RulesQuery,
    SilencesQuery,
)
from webapp.alerts.schemas import (
    Acknowledgement,
    AlertRuleQuestion,
    AlertRuleUpdate,
    NewAlertRule,
    NewAlertSilence,
    alert_as_json,
    preview_as_json,
    rule_as_json,
    silence_as_json,
    transition_as_json,
)
from webapp.alerts.values import AlertState, Severity
from webapp.clock import now
from webapp.db import db
from webapp.errors import Invalid
from webapp.paging import Cursor
from webapp.roles import Role
from webapp.web.access import actor, requires
from webapp.web.answers import json_answer
from webapp.web.cursors import neighbours, read_cursor, read_search
from webapp.web.openapi import Collection, Page, PageQuery, describes
from webapp.web.requests import current_settings, makes
from webapp.web.schemas import (
    Reasoned,
    Removal,
    read_choice,
    read_json,
    read_limit,
    read_removal,
)

blueprint = Blueprint("alerts_api", __name__, url_prefix="/api/v1")


@blueprint.get("/alerts")
@requires(Role.VIEWER)
@describes({200: Page[AlertResponse]}, query=AlertsQuery)
def index() -> Response:
    """List alerts, newest first.

    ``state`` is that of an alert, or ``active`` for those that fire or are acknowledged, or
    ``open`` for those and the pending ones.
    """
    filters = AlertFilters(
        state=_one_of("state", (*AlertState, *STATE_GROUPS)),
        severity=_one_of("severity", tuple(Severity)),
        key=request.args.get("key", ""),
    )
    page = list_alerts(db.session, filters, read_cursor(), size=read_limit())
    links = neighbours(page)
    return json_answer(
        {
            "items": [alert_as_json(view) for view in page.rows],
            "total": page.total,
            "capped": page.capped,
            "previous": links["previous_url"],
            "next": links["next_url"],
        }
    )


@blueprint.get("/alerts/<int:alert_id>")
@requires(Role.VIEWER)
@describes({200: AlertDetailsResponse})
def show(alert_id: int) -> Response:
    """Write one alert with its newest history."""
    view = view_alert(service.find_alert(db.session, alert_id))
    lines = history_of(db.session, alert_id, Cursor()).rows
    body = alert_as_json(view)
    return json_answer(body | {"history": [transition_as_json(line) for line in lines]})


@blueprint.get("/alerts/<int:alert_id>/history")
@requires(Role.VIEWER)
@describes({200: Page[AlertTransitionResponse]}, query=PageQuery)
def history(alert_id: int) -> Response:
    """List what happened to an alert, newest first, with the figures that caused it."""
    service.find_alert(db.session, alert_id)
    page = history_of(db.session, alert_id, read_cursor(), size=read_limit())
    links = neighbours(page)
    return json_answer(
        {
            "items": [transition_as_json(line) for line in page.rows],
            "total": page.total,
            "capped": page.capped,
            "previous": links["previous_url"],
            "next": links["next_url"],
        }
    )


@blueprint.post("/alerts/<int:alert_id>/acknowledge")
@requires(Role.OPERATOR)
@describes({200: AlertResponse}, body=Acknowledgement, example={"note": "I am on it"})
def acknowledge(alert_id: int) -> Response:
    """Say that somebody looks after an alert: 409 where it does not fire.

    It is not told again unless it gets worse.
    """
    body = read_json(Acknowledgement)
    alert = service.acknowledge(db.session, alert_id, by=actor(), now=now(), note=body.note)
    db.session.commit()
    return json_answer(alert_as_json(view_alert(alert)))


@blueprint.get("/alert-rules")
@requires(Role.VIEWER)
@describes({200: Collection[AlertRuleResponse]}, query=RulesQuery)
def rules() -> Response:
    """List rules by name; ``q`` looks in names, metrics and scopes."""
    found = list_rules(db.session, text=read_search())
    return json_answer({"items": [rule_as_json(view) for view in found], "total": len(found)})


@blueprint.post("/alert-rules")
@requires(Role.ADMIN)
@describes(
    {201: AlertRuleResponse},
    body=NewAlertRule,
    example={
        "name": "invoices-failing",
        "metric": "job_failure_rate",
        "scope": "etl",
        "threshold": 10,
        "severity": "error",
        "for_seconds": 300,
        "reason": "Nobody noticed last time",
    },
)
@makes
def create_rule() -> Response:
    """Make a rule."""
    body = read_json(NewAlertRule)
    service.create_rule(db.session, body.draft(), by=actor(), now=now(), reason=body.reason)
    db.session.commit()
    response = _rule(body.name, 201)
    response.headers["Location"] = url_for("alerts_api.show_rule", name=body.name)
    return response


@blueprint.post("/alert-rules/preview")
@requires(Role.VIEWER)
@describes(
    {200: AlertRulePreviewResponse},
    body=AlertRuleQuestion,
    example={
        "metric": "job_failure_rate",
        "threshold": 10,
        "severity": "error",
        "hours": 168,
    },
)
def preview_rule() -> Response:
    """Tell what a rule would have fired on in the last 24 or 168 hours; nothing is saved."""
    body = read_json(AlertRuleQuestion)
    draft = service.checked(db.session, body.draft(), reason="Only asked")
    found = preview(
        db.session,
        draft,
        hours=body.hours,
        now=now(),
        has_workers=current_settings().has_workers,
    )
    return json_answer(preview_as_json(found))


@blueprint.get("/alert-rules/<name>")
@requires(Role.VIEWER)
@describes({200: AlertRuleResponse})
def show_rule(name: str) -> Response:
    """Write one rule."""
    return _rule(name)


@blueprint.patch("/alert-rules/<name>")
@requires(Role.ADMIN)
@describes({200: AlertRuleResponse}, body=AlertRuleUpdate)
def update_rule(name: str) -> Response:
    """Change the fields given; the next evaluation goes by them."""
    body = read_json(AlertRuleUpdate)
    rule = service.find_rule(db.session, name)
    service.change_rule(
        db.session,
        body.draft(rule),
        by=actor(),
        now=now(),
        reason=body.reason,
        # Without one, that which the fields left out were read from.
        version=body.version or rule.version,
    )
    db.session.commit()
    return _rule(name)


@blueprint.delete("/alert-rules/<name>")
@requires(Role.ADMIN)
@describes({204: None}, body=Removal, query=RuleRemovalQuery)
def delete_rule(name: str) -> Response:
    """Remove a rule; why stands in the body or the query.

    What fires by it alone is over at the next evaluation.
    """
    wanted = read_removal()
    service.remove_rule(
        db.session, name, by=actor(), now=now(), reason=wanted.reason, version=wanted.version
    )
    db.session.commit()
    return Response(status=204)


@blueprint.get("/alert-silences")
@requires(Role.VIEWER)
@describes({200: Page[AlertSilenceResponse]}, query=SilencesQuery)
def silences() -> Response:
    """List silences, newest first; with ``active=true`` those that have not ended."""
    at = now()
    page = list_silences(
        db.session, read_cursor(), now=at, active=read_choice("active"), size=read_limit()
    )
    links = neighbours(page)
    return json_answer(
        {
            "items": [silence_as_json(view) for view in page.rows],
            "total": page.total,
            "capped": page.capped,
            "previous": links["previous_url"],
            "next": links["next_url"],
        }
    )


@blueprint.post("/alert-silences")
@requires(Role.OPERATOR)
@describes(
    {201: AlertSilenceResponse},
    body=NewAlertSilence,
    example={
        "label": "etl",
        "ends_at": "2026-11-22T18:00:00Z",
        "reason": "We rehearse until then",
    },
)
@makes
def create_silence() -> Response:
    """Have nobody told of a rule's or a label's alerts until a time."""
    body = read_json(NewAlertSilence)
    silence = service.create_silence(db.session, body.draft(), by=actor(), now=now())
    db.session.commit()
    response = _silence(silence.id, 201)
    response.headers["Location"] = url_for("alerts_api.show_silence", silence_id=silence.id)
    return response


@blueprint.get("/alert-silences/<int:silence_id>")
@requires(Role.VIEWER)
@describes({200: AlertSilenceResponse})
def show_silence(silence_id: int) -> Response:
    """Write one silence."""
    return _silence(silence_id)


@blueprint.post("/alert-silences/<int:silence_id>/end")
@requires(Role.OPERATOR)
@describes({200: AlertSilenceResponse}, body=Reasoned)
def end_silence(silence_id: int) -> Response:
    """End a silence now; 409 where it has ended.  What fires is told at the next evaluation."""
    body = read_json(Reasoned)
    service.end_silence(db.session, silence_id, by=actor(), now=now(), reason=body.reason)
    db.session.commit()
    return _silence(silence_id)


def _one_of(name: str, words: tuple[str, ...]) -> str:
    value = request.args.get(name, "")
    if value and value not in words:
        raise Invalid.field(name, f"One of {', '.join(words)}.")
    return value


def _rule(name: str, status: int = 200) -> Response:
    rule = service.find_rule(db.session, name)
    return json_answer(rule_as_json(view_rule(db.session, rule)), status)


def _silence(silence_id: int, status: int = 200) -> Response:
    silence = service.find_silence(db.session, silence_id)
    return json_answer(silence_as_json(view_silence(silence, now=now())), status)
