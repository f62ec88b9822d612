"""The pages of flags: the list, one flag, and the forms that make and change one.

Every form works as a plain one; where htmx sends it, only its part of the page comes back.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from flask import Blueprint, Response, flash, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from webapp.audit.differences import in_short
from webapp.audit.service import history
from webapp.audit.values import Entry
from webapp.clock import now
from webapp.db import db
from webapp.errors import Conflict, DomainError, FieldErrors, Invalid
from webapp.flags import service
from webapp.flags.environments import environment_to_ask
from webapp.flags.evaluation import state_of
from webapp.flags.explanation import explain
from webapp.flags.figures import DAY_HOURS, recent_usage, unknown_names, usage_of
from webapp.flags.forms import FlagForm, form_of
from webapp.flags.models import FeatureFlag
from webapp.flags.presentation import (
    StepLine,
    choices_of,
    lines_of,
    overrides_of,
    some_of,
)
from webapp.flags.queries import (
    MAX_SKIP,
    PAGE_SIZE,
    FlagFilters,
    get_flag,
    list_flags,
    staleness_of_flag,
)
from webapp.flags.relations import known_to
from webapp.flags.snapshot import flag_store
from webapp.flags.values import Decision, EvaluationContext, FlagState, subject_id
from webapp.roles import Role
from webapp.web.access import actor, principal, requires
from webapp.web.cursors import read_search
from webapp.web.htmx import done, render, wants_part, with_toast

blueprint = Blueprint("flags", __name__, url_prefix="/flags")

HISTORY: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What somebody tries a flag with, and its answer."""

    subject: str
    environment: str
    decision: Decision | None
    steps: Sequence[StepLine] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """An action that asks for its reason on a page of its own, for browsers without scripts."""

    title: str
    text: str
    action: str
    url: str
    hidden: dict[str, str]
    reason: str
    errors: FieldErrors


@blueprint.get("")
@requires(Role.VIEWER)
def index() -> Response:
    """List the flags that the filters in the URL ask for."""
    filters = FlagFilters(
        q=read_search(),
        state=request.args.get("state", ""),
        environment=request.args.get("environment", ""),
        tag=request.args.get("tag", ""),
        stale=request.args.get("stale", ""),
        sort=request.args.get("sort", "name"),
    )
    skip = request.args.get("skip", 0, type=int)
    at, counting = now(), flag_store().usage is not None
    skip = min(max(0, skip), MAX_SKIP)
    found = list_flags(db.session, filters, now=at, counting=counting, skip=skip)
    return render(
        "flags/index.html",
        "flags/_table.html",
        filters=filters,
        found=found,
        page_size=PAGE_SIZE,
        choices=choices_of(found),
        usage=recent_usage(db.session, [flag.name for flag in found.rows], now=at),
        unknown=unknown_names(db.session, now=at),
    )


@blueprint.get("/new")
@requires(Role.ADMIN)
def new() -> Response:
    """Show the form of a flag to be made."""
    form = FlagForm(name=request.args.get("name", ""))
    return render("flags/new.html", "flags/_form.html", form=form, flag=None)


@blueprint.post("")
@requires(Role.ADMIN)
def create() -> BaseResponse:
    """Make the flag that was typed."""
    form = FlagForm.read(request.form)
    try:
        flag = service.create_flag(
            db.session, form.draft(), by=actor(), now=now(), reason=form.reason
        )
        db.session.commit()
    except (Invalid, Conflict) as error:
        form = _refused(form, error, taken="name")
        return render(
            "flags/new.html", "flags/_form.html", status=_status(error), form=form, flag=None
        )
    return _go_to(flag.name, f"{flag.name} is made.")


@blueprint.get("/<name>")
@requires(Role.VIEWER)
def show(name: str) -> Response:
    """Show one flag: how it stands, its rollout, its history, and a place to try it."""
    flag = get_flag(db.session, name)
    return _flag_page(flag, _form_of(flag))


@blueprint.post("/<name>/rollout")
@requires(Role.OPERATOR)
def rollout(name: str) -> BaseResponse:
    """Save the percentage that was chosen."""
    form = FlagForm.read(request.form)
    try:
        flag = _change(name, form, form.rollout)
    except (Invalid, Conflict) as error:
        flag, form, meanwhile = _overtaken(name, form, error)
        return _flag_page(flag, form, status=_status(error), meanwhile=meanwhile)
    text = f"{name} is at {flag.percentage:g} %."
    if not wants_part():
        return done(text, url=url_for("flags.show", name=name))
    return with_toast(_flag_page(flag, _form_of(flag)), text)


@blueprint.get("/<name>/edit")
@requires(Role.ADMIN)
def edit(name: str) -> Response:
    """Show the form of everything but switch and rollout."""
    flag = get_flag(db.session, name)
    return render("flags/edit.html", "flags/_form.html", form=_form_of(flag), flag=flag)


@blueprint.post("/<name>")
@requires(Role.ADMIN)
def update(name: str) -> BaseResponse:
    """Save everything but switch and rollout."""
    form = FlagForm.read(request.form)
    try:
        _change(name, form, form.settings)
    except (Invalid, Conflict) as error:
        flag, form, meanwhile = _overtaken(name, form, error)
        return render(
            "flags/edit.html",
            "flags/_form.html",
            status=_status(error),
            form=form,
            flag=flag,
            meanwhile=list(map(in_short, meanwhile)),
        )
    return _go_to(name, f"{name} is saved.")


@blueprint.post("/<name>/switch")
@requires(Role.OPERATOR)
def switch(name: str) -> BaseResponse:
    """Work the kill switch."""
    enabled = request.form.get("enabled") == "1"
    word = "on" if enabled else "off"
    asking = _asking(
        f"Turn {name} {word}?",
        "Its rollout, lists and overrides count again."
        if enabled
        else "It is off for everybody at once, whatever else is set.",
        f"Turn {word}",
        enabled="1" if enabled else "0",
    )
    return _act(
        asking,
        f"{name} is {word}.",
        url=url_for("flags.show", name=name),
        verb=lambda by, at: service.switch_flag(
            db.session, name, enabled=enabled, by=by, now=at, reason=asking.reason
        ),
    )


@blueprint.post("/<name>/archive")
@requires(Role.ADMIN)
def archive(name: str) -> BaseResponse:
    """Take a flag out of use."""
    asking = _asking(
        f"Archive {name}?",
        "Whoever asks for it is told that it is unknown, so off.",
        "Archive flag",
    )
    return _act(
        asking,
        f"{name} is archived.",
        url=url_for("flags.index"),
        verb=lambda by, at: service.archive_flag(
            db.session, name, by=by, now=at, reason=asking.reason
        ),
    )


@blueprint.post("/<name>/restore")
@requires(Role.ADMIN)
def restore(name: str) -> BaseResponse:
    """Bring an archived flag back."""
    asking = _asking(f"Restore {name}?", "It decides again as it did before.", "Restore flag")
    return _act(
        asking,
        f"{name} is back.",
        url=url_for("flags.show", name=name),
        verb=lambda by, at: service.restore_flag(
            db.session, name, by=by, now=at, reason=asking.reason
        ),
    )


@blueprint.post("/<name>/purge")
@requires(Role.ADMIN)
def purge(name: str) -> BaseResponse:
    """Remove an archived flag for good."""
    asking = _asking(
        f"Remove {name} for good?",
        "It cannot be restored. The audit keeps its history and its last state.",
        "Remove for good",
    )
    return _act(
        asking,
        f"{name} is removed.",
        url=url_for("flags.index"),
        verb=lambda by, at: service.purge_flag(
            db.session, name, by=by, now=at, reason=asking.reason
        ),
    )


def _flag_page(
    flag: FeatureFlag,
    form: FlagForm,
    *,
    status: int = 200,
    meanwhile: tuple[Entry, ...] = (),
) -> Response:
    at, counting = now(), flag_store().usage is not None
    entries = history(db.session, "flag", flag.name, HISTORY)
    usage = usage_of(db.session, flag.name, hours=DAY_HOURS, now=at)
    stale = staleness_of_flag(
        db.session, flag, last_evaluated_at=usage.last_evaluated_at, now=at, counting=counting
    )
    return render(
        "flags/show.html",
        "flags/_rollout.html",
        "flags/_status.html",
        "flags/_usage.html",
        "flags/_history.html",
        "flags/_playground.html",
        status=status,
        flag=flag,
        form=form,
        state=_state(flag, at),
        usage=usage,
        staleness=stale,
        counting=counting,
        overrides=overrides_of(flag.environment_overrides),
        whitelist=some_of(flag.whitelist),
        blacklist=some_of(flag.blacklist),
        entries=list(map(in_short, entries)),
        meanwhile=list(map(in_short, meanwhile)),
        tried=_tried(flag),
    )


def _change(name: str, form: FlagForm, changes: Callable[[], Any]) -> FeatureFlag:
    flag = service.change_flag(
        db.session,
        name,
        changes(),
        by=actor(),
        now=now(),
        reason=form.reason,
        version=form.based_on(),
    )
    db.session.commit()
    return flag


def _overtaken(
    name: str, form: FlagForm, error: DomainError
) -> tuple[FeatureFlag, FlagForm, tuple[Entry, ...]]:
    """Return the flag as it stands, the form as it was typed, and what changed meanwhile.

    The form now bears the present version: who has read what changed may save over it.
    """
    flag = get_flag(db.session, name)
    started = form.based_on()
    form = replace(_refused(form, error), name=name)
    if not isinstance(error, Conflict) or started is None:
        return flag, form, ()
    # Each change is one version and one entry.
    missed = max(0, min(flag.version - started, HISTORY))
    entries = history(db.session, "flag", name, missed) if missed else []
    return flag, replace(form, version=str(flag.version)), tuple(entries)


def _refused(form: FlagForm, error: DomainError, taken: str = "") -> FlagForm:
    """Put the messages of a refusal at their fields."""
    db.session.rollback()
    if isinstance(error, Invalid):
        return replace(form, errors=error.errors)
    return replace(form, errors={taken: [error.detail]}) if taken else form


def _status(error: DomainError) -> int:
    """Return the status of a refused form; htmx puts in place what comes with 422 only."""
    return 409 if isinstance(error, Conflict) and not wants_part() else 422


def _act(
    asking: Confirmation, text: str, *, url: str, verb: Callable[[Any, datetime], object]
) -> BaseResponse:
    """Do what was asked, or ask again where the reason does not do."""
    try:
        verb(actor(), now())
        db.session.commit()
    except Invalid as error:
        db.session.rollback()
        if wants_part():
            return done(error.detail, url=url, tone="danger")
        asking = replace(asking, errors=error.errors if "reason" in request.form else {})
        return render("flags/confirm.html", status=422, asking=asking)
    return done(text, url=url)


def _asking(title: str, text: str, action: str, **hidden: str) -> Confirmation:
    return Confirmation(
        title=title,
        text=text,
        action=action,
        url=request.path,
        hidden=hidden,
        reason=request.form.get("reason", ""),
        errors={},
    )


def _go_to(name: str, text: str) -> BaseResponse:
    """Go to a flag's page, for htmx as well: its form was a whole page."""
    url = url_for("flags.show", name=name)
    if not wants_part():
        return done(text, url=url)
    flash(text, "success")
    response = Response(status=204)
    response.headers["HX-Redirect"] = url
    return response


def _tried(flag: FeatureFlag) -> Question:
    """Answer the question in the URL from the flag as it is stored."""
    subject = request.args.get("subject", "")
    asked = request.args.get("environment")
    bound = principal().environment
    environment = environment_to_ask(asked, bound=bound) or flag_store().environment
    if "subject" not in request.args:
        return Question(subject="", environment=environment, decision=None)
    context = EvaluationContext(subject_id(subject.strip()), environment, now())
    archived = flag.archived_at is not None
    known = known_to(db.session, flag)
    told = explain(flag.definition(), context, known=known, archived=archived)
    return Question(
        subject=subject, environment=environment, decision=told.decision, steps=lines_of(told)
    )


def _form_of(flag: FeatureFlag) -> FlagForm:
    return form_of(service.draft_of(flag), flag.version)


def _state(flag: FeatureFlag, at: datetime) -> FlagState:
    return state_of(flag.definition(), now=at, archived=flag.archived_at is not None)
