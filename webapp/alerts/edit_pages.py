"""The pages of rules: the list, one rule, and the forms that make, change and try one."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Final

from flask import Blueprint, Response, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from webapp.alerts import service
from webapp.alerts.forms import (
    COMPARISONS,
    METRIC_OPTIONS,
    SEVERITIES,
    SPANS,
    RuleForm,
    form_of,
)
from webapp.alerts.guidance import GUIDANCE
from webapp.alerts.models import AlertRule
from webapp.alerts.page_queries import alerts_of_rule, last_fired
from webapp.alerts.previewing import Preview, preview
from webapp.alerts.queries import list_rules, view_rule
from webapp.alerts.values import METRICS, Metric, MetricFacts, RuleDraft, applies
from webapp.audit.differences import in_short
from webapp.audit.service import history
from webapp.audit.values import Entry
from webapp.channels.service import channel_names, channels_of
from webapp.clock import now
from webapp.db import db
from webapp.errors import Conflict, DomainError, FieldErrors, Invalid
from webapp.roles import Role
from webapp.web.access import actor, requires
from webapp.web.confirmations import Confirmation, act, asking
from webapp.web.cursors import read_search
from webapp.web.htmx import go_to, refused_status, render
from webapp.web.requests import current_settings, writes_nothing

blueprint = Blueprint("rules", __name__, url_prefix="/rules")

HISTORY: Final = 20


@dataclass(frozen=True, slots=True)
class Trial:
    """What the rule that is typed is about, and what it would have fired on, if it can be read."""

    facts: MetricFacts | None
    means: str
    draft: RuleDraft | None = None
    found: Preview | None = None
    errors: FieldErrors | None = None


@blueprint.get("")
@requires(Role.VIEWER)
def index() -> Response:
    """List the rules."""
    text = read_search()
    return render(
        "alerts/rules.html",
        "alerts/_rules.html",
        rules=list_rules(db.session, text=text),
        last_fired=last_fired(db.session),
        applies=_applies(),
        q=text,
    )


@blueprint.get("/new")
@requires(Role.ADMIN)
def new() -> Response:
    """Show the form of a rule to be made, filled in as far as a link does."""
    form = RuleForm.read(request.args, request.args.getlist("channels"))
    return _form_page(replace(form, enabled=True), None)


@blueprint.post("")
@requires(Role.ADMIN)
def create() -> BaseResponse:
    """Make the rule that was typed."""
    form = _typed()
    try:
        rule = service.create_rule(
            db.session, form.draft(), by=actor(), now=now(), reason=form.reason
        )
        db.session.commit()
    except (Invalid, Conflict) as error:
        return _form_page(_refused(form, error, taken="name"), None, status=refused_status(error))
    return go_to(url_for("alerts.rules.show", name=rule.name), f"{rule.name} is made.")


@blueprint.post("/preview")
@requires(Role.ADMIN)
@writes_nothing
def preview_new() -> Response:
    """Show what the rule that is being made would have fired on."""
    return _form_page(_typed(), None)


@blueprint.get("/<name>")
@requires(Role.VIEWER)
def show(name: str) -> Response:
    """Show one rule: what it says, what it fired on, and who changed it."""
    rule = service.find_rule(db.session, name)
    return render(
        "alerts/rule.html",
        "alerts/_rule.html",
        rule=view_rule(db.session, rule),
        applies=_applies(),
        means=GUIDANCE[Metric(rule.metric)].means,
        alerts=alerts_of_rule(db.session, name),
        entries=[in_short(item) for item in history(db.session, "alert_rule", name, HISTORY)],
    )


def _applies() -> Callable[[Metric], bool]:
    """Return what tells whether rules about a metric are judged in this deployment."""
    return partial(applies, has_workers=current_settings().has_workers)


@blueprint.get("/<name>/edit")
@requires(Role.ADMIN)
def edit(name: str) -> Response:
    """Show the form of a rule to be changed."""
    rule = service.find_rule(db.session, name)
    return _form_page(form_of(service.draft_of(rule), rule.version), rule)


@blueprint.post("/<name>")
@requires(Role.ADMIN)
def update(name: str) -> BaseResponse:
    """Save what was typed."""
    form = replace(_typed(), name=name)
    try:
        service.change_rule(
            db.session,
            form.draft(),
            by=actor(),
            now=now(),
            reason=form.reason,
            version=form.based_on(),
        )
        db.session.commit()
    except (Invalid, Conflict) as error:
        form, meanwhile = _overtaken(name, _refused(form, error), error)
        rule = service.find_rule(db.session, name)
        return _form_page(form, rule, meanwhile=meanwhile, status=refused_status(error))
    return go_to(url_for("alerts.rules.show", name=name), f"{name} is saved.")


@blueprint.post("/<name>/preview")
@requires(Role.ADMIN)
@writes_nothing
def preview_changed(name: str) -> Response:
    """Show what the rule that is being changed would have fired on."""
    return _form_page(replace(_typed(), name=name), service.find_rule(db.session, name))


@blueprint.post("/<name>/enable")
@requires(Role.ADMIN)
def enable(name: str) -> BaseResponse:
    """Have a rule judged again."""
    asked = asking(f"Switch {name} on?", "It is judged from the next minute on.", "Switch on")
    return _act(asked, name, f"{name} is switched on.", service.switch_rule, enabled=True)


@blueprint.post("/<name>/disable")
@requires(Role.ADMIN)
def disable(name: str) -> BaseResponse:
    """Have a rule judged no longer."""
    asked = asking(
        f"Switch {name} off?",
        "It is not judged until it is switched on; what fires by it alone is over within a minute.",
        "Switch off",
    )
    return _act(asked, name, f"{name} is switched off.", service.switch_rule, enabled=False)


@blueprint.post("/<name>/remove")
@requires(Role.ADMIN)
def remove(name: str) -> BaseResponse:
    """Remove a rule for good."""
    asked = asking(
        f"Remove {name}?",
        "What fires by it alone is over within a minute. Its alerts stay, and the audit keeps "
        "its last state.",
        "Remove rule",
    )
    return _act(asked, name, f"{name} is removed.", service.remove_rule)


def _act(
    asked: Confirmation, name: str, text: str, verb: Callable[..., object], **values: bool
) -> BaseResponse:
    gone = verb is service.remove_rule
    url = url_for("alerts.rules.index") if gone else url_for("alerts.rules.show", name=name)
    return act(
        asked,
        text,
        url=url,
        verb=lambda by, at: verb(db.session, name, by=by, now=at, reason=asked.reason, **values),
    )


def _typed() -> RuleForm:
    return RuleForm.read(request.form, request.form.getlist("channels"))


def _form_page(
    form: RuleForm,
    rule: AlertRule | None,
    *,
    meanwhile: tuple[Entry, ...] = (),
    status: int = 200,
) -> Response:
    return render(
        "alerts/edit_rule.html" if rule else "alerts/new_rule.html",
        "alerts/_rule_form.html",
        "alerts/_preview.html",
        status=status,
        form=form,
        rule=rule,
        trial=_try(form, rule, now()),
        meanwhile=[in_short(entry) for entry in meanwhile],
        metrics=METRIC_OPTIONS,
        comparisons=COMPARISONS,
        severities=SEVERITIES,
        spans=SPANS,
        channels=_channels(form),
    )


def _channels(form: RuleForm) -> list[tuple[str, str]]:
    """Return the channels to choose from; one that is chosen and gone must be there to untick."""
    open_channels = channel_names(db.session)
    known = channels_of(db.session, form.channels)
    others = [name for name in dict.fromkeys(form.channels) if name not in open_channels]
    words = {True: "", False: ", switched off", None: ", removed"}
    return [
        *((name, name) for name in open_channels),
        *((name, name + words[known.get(name)]) for name in others),
    ]


def _try(form: RuleForm, rule: AlertRule | None, at: datetime) -> Trial:
    metric = Metric(form.metric) if form.metric in set(Metric) else None
    if metric is None:
        return Trial(None, "")
    facts, means = METRICS[metric], GUIDANCE[metric].means
    if not form.threshold.strip():
        return Trial(facts, means)
    # Its name and channels do not matter yet.
    unnamed = replace(form, name=rule.name if rule else "unnamed", channels=())
    try:
        draft = service.checked(db.session, unnamed.draft(), reason="Only tried")
    except Invalid as error:
        return Trial(facts, means, errors=error.errors)
    has_workers = current_settings().has_workers
    hours = form.looks_back()
    found = preview(db.session, draft, hours=hours, now=at, has_workers=has_workers)
    return Trial(facts, means, draft, found)


def _overtaken(name: str, form: RuleForm, error: DomainError) -> tuple[RuleForm, tuple[Entry, ...]]:
    """Return the form at the present version, and what others changed meanwhile.

    Who has read what changed may save over it.
    """
    started = form.based_on()
    if not isinstance(error, Conflict) or started is None:
        return form, ()
    present = service.find_rule(db.session, name).version
    # Each change is one version and one entry.
    changes = history(db.session, "alert_rule", name, HISTORY)
    return replace(form, version=str(present)), tuple(changes[: max(0, present - started)])


def _refused(form: RuleForm, error: DomainError, taken: str = "") -> RuleForm:
    """Put the messages of a refusal at their fields."""
    db.session.rollback()
    if isinstance(error, Invalid):
        return replace(form, errors=error.errors)
    return replace(form, errors={taken: [error.detail]}) if taken else form
