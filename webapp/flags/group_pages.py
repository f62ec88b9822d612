"""The pages of groups: the list, one group, and the forms that make, change and remove one."""

from dataclasses import replace

from flask import Blueprint, Response, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from webapp.audit.service import history
from webapp.clock import now
from webapp.db import db
from webapp.errors import Conflict, DomainError, Invalid
from webapp.flags import shared
from webapp.flags.conflicts import Clash
from webapp.flags.disputes import (
    Dispute,
    Overtaken,
    began_with,
    clashes_since,
    dispute_of,
    settled,
    version_in,
)
from webapp.flags.edit_pages import fields_of
from webapp.flags.models import FlagGroup
from webapp.flags.presentation import shortened
from webapp.flags.refusals import refused
from webapp.flags.relations import flags_in_group, get_group, list_groups
from webapp.flags.rows import Sent
from webapp.flags.shared import Trace, group_draft
from webapp.flags.shared_forms import GroupForm
from webapp.flags.values import GroupDraft
from webapp.roles import Role
from webapp.web.access import actor, requires
from webapp.web.confirmations import act, asking
from webapp.web.htmx import go_to, refused_status, render

blueprint = Blueprint("groups", __name__, url_prefix="/groups")

HISTORY = 20


@blueprint.get("")
@requires(Role.VIEWER)
def index() -> Response:
    """List every group."""
    return render("groups/index.html", "groups/_table.html", found=list_groups(db.session))


@blueprint.get("/new")
@requires(Role.ADMIN)
def new() -> Response:
    """Show the form of a group to be made."""
    return _new_page(GroupForm())


@blueprint.post("")
@requires(Role.ADMIN)
def create() -> BaseResponse:
    """Make the group that was typed."""
    form = GroupForm.read(fields_of(request.form))
    try:
        group = shared.create_group(db.session, form.draft(), _trace(form.reason))
        db.session.commit()
    except (Invalid, Conflict) as error:
        return _new_page(refused(form, error, taken="name"), status=refused_status(error))
    return go_to(url_for(".show", name=group.name), f"{group.name} is made.")


@blueprint.get("/<name>")
@requires(Role.VIEWER)
def show(name: str) -> Response:
    """Show one group: its flags and its history."""
    return render(
        "groups/show.html",
        group=get_group(db.session, name),
        flags=flags_in_group(db.session, name),
        entries=shortened(history(db.session, "group", name, HISTORY)),
    )


@blueprint.get("/<name>/edit")
@requires(Role.ADMIN)
def edit(name: str) -> Response:
    """Show the form of one group."""
    group = get_group(db.session, name)
    return _edit_page(group, GroupForm.of(group_draft(group), group.version))


@blueprint.post("/<name>")
@requires(Role.ADMIN)
def update(name: str) -> BaseResponse:
    """Save a group."""
    sent = fields_of(request.form)
    group, form = get_group(db.session, name), GroupForm.read(sent)
    try:
        draft = _wanted(group, form, sent)
        version = version_in(form.version)
        shared.change_group(db.session, draft, _trace(form.reason), version=version)
        db.session.commit()
    except (Invalid, Conflict) as error:
        return _refused_page(name, form, sent, error)
    return go_to(url_for(".show", name=name), f"{name} is saved.")


@blueprint.post("/<name>/remove")
@requires(Role.ADMIN)
def remove(name: str) -> BaseResponse:
    """Remove a group that no flag is in."""
    asked = asking(
        f"Remove the group {name}?",
        "It cannot be restored. The audit keeps its history and its last state.",
        "Remove group",
    )
    return act(
        asked,
        f"{name} is removed.",
        url=url_for(".index"),
        verb=lambda by, at: shared.remove_group(db.session, name, Trace(by, at, asked.reason)),
    )


def _wanted(group: FlagGroup, form: GroupForm, sent: Sent) -> GroupDraft:
    """Return the group as it is to be, with the others' value where that was chosen."""
    stands, draft = group_draft(group), replace(form.draft(), name=group.name)
    if "over" not in sent:
        return draft
    return stands if settled(_clashes(group, draft, sent)) else draft


def _clashes(group: FlagGroup, draft: GroupDraft, sent: Sent) -> list[Clash]:
    different = shared.changes_of(group_draft(group), draft)
    return clashes_since(db.session, _overtaken(group, sent), different, sent)


def _overtaken(group: FlagGroup, sent: Sent) -> Overtaken:
    return Overtaken("group", group.name, group.version, began_with(sent))


def _refused_page(name: str, form: GroupForm, sent: Sent, error: DomainError) -> Response:
    """Answer with what was typed, its messages, and what others saved meanwhile."""
    typed, group, dispute = refused(form, error), get_group(db.session, name), None
    if (isinstance(error, Conflict) or "over" in sent) and began_with(sent) is not None:
        draft = replace(form.draft(), name=name)
        dispute = dispute_of(db.session, _overtaken(group, sent), _clashes(group, draft, sent))
        # The form now bears the present version: who has read what changed may save over it.
        typed = replace(typed, version=str(group.version))
    return _edit_page(group, typed, status=refused_status(error), dispute=dispute)


def _new_page(form: GroupForm, *, status: int = 200) -> Response:
    return render("groups/new.html", "groups/_form.html", status=status, form=form, group=None)


def _edit_page(
    group: FlagGroup, form: GroupForm, *, status: int = 200, dispute: Dispute | None = None
) -> Response:
    return render(
        "groups/edit.html",
        "groups/_form.html",
        status=status,
        form=form,
        group=group,
        dispute=dispute,
    )


def _trace(reason: str) -> Trace:
    return Trace(actor(), now(), reason)
