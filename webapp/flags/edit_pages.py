"""The forms that make and change a flag: rows more or less, review, conflict, saving.

Every form works as a plain one.  Where htmx sends it, only the form comes back.
"""

from dataclasses import replace
from typing import Any

from flask import Response, request, url_for
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response as BaseResponse

from webapp.breakers.service import states_by_name
from webapp.clock import now
from webapp.db import db
from webapp.errors import Conflict, DomainError, Invalid
from webapp.flags import service
from webapp.flags.conflicts import Clash
from webapp.flags.disputes import (
    Dispute,
    Overtaken,
    began_with,
    clashes_since,
    dispute_of,
    settled,
)
from webapp.flags.forms import FlagForm, form_of
from webapp.flags.lifecycle import differences, with_changes
from webapp.flags.models import FeatureFlag
from webapp.flags.pages import blueprint
from webapp.flags.presentation import Offers, offers_of
from webapp.flags.queries import get_flag
from webapp.flags.refusals import refused
from webapp.flags.relations import references
from webapp.flags.reviews import Review, mark_of, review_of
from webapp.flags.rows import Sent, edited
from webapp.flags.values import UNSET, FlagChanges
from webapp.jobs.registry import job_types
from webapp.roles import Role
from webapp.web.access import actor, requires
from webapp.web.htmx import go_to, refused_status, render


@blueprint.get("/new")
@requires(Role.ADMIN)
def new() -> Response:
    """Show the form of a flag to be made."""
    given = {name: request.args[name] for name in ("name", "group") if name in request.args}
    return _new_page(FlagForm.read(given))


@blueprint.post("")
@requires(Role.ADMIN)
def create() -> BaseResponse:
    """Make the flag that was typed."""
    sent = fields_of(request.form)
    if asked := edited(sent):
        return _new_page(FlagForm.read(asked.sent), focus=asked.focus)
    form = FlagForm.read(sent)
    try:
        flag = service.create_flag(
            db.session, form.draft(), by=actor(), now=now(), reason=form.reason
        )
        db.session.commit()
    except (Invalid, Conflict) as error:
        return _new_page(refused(form, error, taken="name"), status=refused_status(error))
    return go_to(url_for("flags.show", name=flag.name), f"{flag.name} is made.")


@blueprint.get("/<name>/edit")
@requires(Role.ADMIN)
def edit(name: str) -> Response:
    """Show the form of everything but switch and rollout."""
    flag = get_flag(db.session, name)
    return _edit_page(flag, form_of(service.draft_of(flag), flag.version))


@blueprint.post("/<name>")
@requires(Role.ADMIN)
def update(name: str) -> BaseResponse:
    """Save everything but switch and rollout, once it was looked at."""
    sent = fields_of(request.form)
    flag = get_flag(db.session, name)
    if asked := edited(sent):
        form = FlagForm.read(asked.sent)
        dispute = _dispute(flag, form, sent) if "began" in sent else None
        return _edit_page(flag, form, focus=asked.focus, dispute=dispute)
    form = FlagForm.read(sent)
    try:
        if review := _saved_or_review(flag, form, sent):
            return _edit_page(flag, form, review=review)
        db.session.commit()
    except (Invalid, Conflict) as error:
        return _refused_page(name, form, sent, error)
    return go_to(url_for("flags.show", name=name), f"{name} is saved.")


def fields_of(form: MultiDict[str, str]) -> Sent:
    """Return what a browser sent by name; of segments, which are ticked, all as words."""
    return {
        name: " ".join(values) if name.endswith("-segments") else values[0]
        for name, values in form.lists()
    }


def _saved_or_review(flag: FeatureFlag, form: FlagForm, sent: Sent) -> Review | None:
    """Save what was looked at, and return None; else what would change, to be looked at."""
    before, changes = service.draft_of(flag), form.settings()
    if "over" in sent:
        theirs = dict.fromkeys(settled(_clashes(flag, form, sent)), UNSET)
        _save(flag, form, replace(changes, **theirs))
        return None
    after = with_changes(before, changes)
    different = differences(before, after)
    if sent.get("reviewed") == mark_of(different):
        _save(flag, form, changes)
        return None
    if form.based_on() not in {None, flag.version}:
        raise Conflict(f"{flag.name} was changed meanwhile.")
    service.refuse_draft(db.session, after, form.reason)
    return review_of(different)


def _save(flag: FeatureFlag, form: FlagForm, changes: FlagChanges) -> None:
    service.change_flag(
        db.session,
        flag.name,
        changes,
        by=actor(),
        now=now(),
        reason=form.reason,
        version=form.based_on(),
    )


def _clashes(flag: FeatureFlag, form: FlagForm, sent: Sent) -> list[Clash]:
    before = service.draft_of(flag)
    different = differences(before, with_changes(before, form.settings()))
    return clashes_since(db.session, _overtaken(flag, sent), different, sent)


def _overtaken(flag: FeatureFlag, sent: Sent) -> Overtaken:
    return Overtaken("flag", flag.name, flag.version, began_with(sent))


def _dispute(flag: FeatureFlag, form: FlagForm, sent: Sent) -> Dispute | None:
    """Return what is to be settled; None where nobody knows what the form began with."""
    if began_with(sent) is None:
        return None
    try:
        clashes = _clashes(flag, form, sent)
    except Invalid:
        # What cannot be read is said at its field, and is compared once it can be.
        clashes = []
    return dispute_of(db.session, _overtaken(flag, sent), clashes)


def _refused_page(name: str, form: FlagForm, sent: Sent, error: DomainError) -> Response:
    """Answer with what was typed, its messages, and what others saved meanwhile."""
    typed = replace(refused(form, error), name=name)
    flag, conflict = get_flag(db.session, name), isinstance(error, Conflict)
    dispute = None
    if (conflict or "over" in sent) and flag.archived_at is None:
        dispute = _dispute(flag, form, sent)
    if dispute:
        # The form now bears the present version: who has read what changed may save over it.
        typed = replace(typed, version=str(flag.version))
    return _edit_page(
        flag,
        typed,
        status=refused_status(error),
        dispute=dispute,
        problem=_problem(flag, error) if conflict and not dispute else "",
    )


def _problem(flag: FeatureFlag, error: DomainError) -> str:
    if flag.archived_at is not None:
        return f"The flag {flag.name!r} is archived; restore it first."
    return error.detail


def _new_page(form: FlagForm, *, status: int = 200, focus: str = "") -> Response:
    offers = _offers(form.name)
    return render(
        "flags/new.html",
        "flags/_form.html",
        status=status,
        form=form,
        flag=None,
        focus=focus,
        offers=offers,
    )


def _edit_page(flag: FeatureFlag, form: FlagForm, *, status: int = 200, **shown: Any) -> Response:
    """Show the form; besides it what is at stake: ``focus, review, dispute`` or ``problem``."""
    offers = _offers(flag.name)
    return render(
        "flags/edit.html",
        "flags/_form.html",
        status=status,
        form=form,
        flag=flag,
        offers=offers,
        **shown,
    )


def _offers(name: str) -> Offers:
    scopes = [*(kind.name for kind in job_types()), *states_by_name(db.session, now=now())]
    return offers_of(references(db.session), name, scopes)
