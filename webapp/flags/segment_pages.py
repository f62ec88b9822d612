"""The pages of segments: the list, one segment, and the forms that make, change and remove one."""

from dataclasses import replace
from typing import Any

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
from webapp.flags.models import FlagSegment
from webapp.flags.presentation import Offers, shortened
from webapp.flags.refusals import refused
from webapp.flags.relations import flags_with_segment, get_segment, list_segments
from webapp.flags.rows import Sent, edited
from webapp.flags.shared import Trace, segment_draft
from webapp.flags.shared_forms import SegmentForm
from webapp.flags.values import SegmentDraft
from webapp.flags.wording import condition_in_words
from webapp.roles import Role
from webapp.web.access import actor, requires
from webapp.web.confirmations import act, asking
from webapp.web.htmx import go_to, refused_status, render

blueprint = Blueprint("segments", __name__, url_prefix="/segments")

HISTORY = 20


@blueprint.get("")
@requires(Role.VIEWER)
def index() -> Response:
    """List every segment."""
    return render(
        "segments/index.html",
        "segments/_table.html",
        found=list_segments(db.session),
        in_words=condition_in_words,
    )


@blueprint.get("/new")
@requires(Role.ADMIN)
def new() -> Response:
    """Show the form of a segment to be made, with room for a first condition."""
    return _new_page(SegmentForm.read({"conditions-0-attribute": ""}))


@blueprint.post("")
@requires(Role.ADMIN)
def create() -> BaseResponse:
    """Make the segment that was typed."""
    sent = fields_of(request.form)
    if asked := edited(sent):
        return _new_page(SegmentForm.read(asked.sent), focus=asked.focus)
    form = SegmentForm.read(sent)
    try:
        segment = shared.create_segment(db.session, form.draft(), _trace(form.reason))
        db.session.commit()
    except (Invalid, Conflict) as error:
        return _new_page(refused(form, error, taken="name"), status=refused_status(error))
    return go_to(url_for(".show", name=segment.name), f"{segment.name} is made.")


@blueprint.get("/<name>")
@requires(Role.VIEWER)
def show(name: str) -> Response:
    """Show one segment: its conditions, the flags that use it, its history."""
    segment = get_segment(db.session, name)
    return render(
        "segments/show.html",
        segment=segment,
        conditions=segment.as_conditions(),
        flags=flags_with_segment(db.session, name),
        entries=shortened(history(db.session, "segment", name, HISTORY)),
        in_words=condition_in_words,
    )


@blueprint.get("/<name>/edit")
@requires(Role.ADMIN)
def edit(name: str) -> Response:
    """Show the form of one segment."""
    segment = get_segment(db.session, name)
    return _edit_page(segment, SegmentForm.of(segment_draft(segment), segment.version))


@blueprint.post("/<name>")
@requires(Role.ADMIN)
def update(name: str) -> BaseResponse:
    """Save a segment."""
    sent = fields_of(request.form)
    segment = get_segment(db.session, name)
    if asked := edited(sent):
        form = SegmentForm.read(asked.sent)
        dispute = _dispute(segment, form, sent) if "began" in sent else None
        return _edit_page(segment, form, focus=asked.focus, dispute=dispute)
    form = SegmentForm.read(sent)
    try:
        draft = _wanted(segment, form, sent)
        version = version_in(form.version)
        shared.change_segment(db.session, draft, _trace(form.reason), version=version)
        db.session.commit()
    except (Invalid, Conflict) as error:
        return _refused_page(name, form, sent, error)
    return go_to(url_for(".show", name=name), f"{name} is saved.")


@blueprint.post("/<name>/remove")
@requires(Role.ADMIN)
def remove(name: str) -> BaseResponse:
    """Remove a segment that no flag uses."""
    asked = asking(
        f"Remove the segment {name}?",
        "It cannot be restored. The audit keeps its history and its last state.",
        "Remove segment",
    )
    return act(
        asked,
        f"{name} is removed.",
        url=url_for(".index"),
        verb=lambda by, at: shared.remove_segment(db.session, name, Trace(by, at, asked.reason)),
    )


def _wanted(segment: FlagSegment, form: SegmentForm, sent: Sent) -> SegmentDraft:
    """Return the segment as it is to be, with the others' value where that was chosen."""
    stands, draft = segment_draft(segment), replace(form.draft(), name=segment.name)
    if "over" not in sent:
        return draft
    theirs = settled(_clashes(segment, draft, sent))
    return replace(draft, **{field: getattr(stands, field) for field in theirs})


def _clashes(segment: FlagSegment, draft: SegmentDraft, sent: Sent) -> list[Clash]:
    different = shared.changes_of(segment_draft(segment), draft)
    return clashes_since(db.session, _overtaken(segment, sent), different, sent)


def _overtaken(segment: FlagSegment, sent: Sent) -> Overtaken:
    return Overtaken("segment", segment.name, segment.version, began_with(sent))


def _dispute(segment: FlagSegment, form: SegmentForm, sent: Sent) -> Dispute | None:
    if began_with(sent) is None:
        return None
    try:
        clashes = _clashes(segment, replace(form.draft(), name=segment.name), sent)
    except Invalid:
        # What cannot be read is said at its field, and is compared once it can be.
        clashes = []
    return dispute_of(db.session, _overtaken(segment, sent), clashes)


def _refused_page(name: str, form: SegmentForm, sent: Sent, error: DomainError) -> Response:
    """Answer with what was typed, its messages, and what others saved meanwhile."""
    typed = refused(form, error)
    segment = get_segment(db.session, name)
    dispute = None
    if isinstance(error, Conflict) or "over" in sent:
        dispute = _dispute(segment, form, sent)
        # The form now bears the present version: who has read what changed may save over it.
        typed = replace(typed, version=str(segment.version))
    return _edit_page(segment, typed, status=refused_status(error), dispute=dispute)


def _new_page(form: SegmentForm, *, status: int = 200, focus: str = "") -> Response:
    return render(
        "segments/new.html",
        "segments/_form.html",
        status=status,
        form=form,
        segment=None,
        focus=focus,
        offers=Offers(),
    )


def _edit_page(
    segment: FlagSegment, form: SegmentForm, *, status: int = 200, **shown: Any
) -> Response:
    """Show the form; besides it ``focus`` and ``dispute``."""
    return render(
        "segments/edit.html",
        "segments/_form.html",
        status=status,
        form=form,
        segment=segment,
        offers=Offers(),
        **shown,
    )


def _trace(reason: str) -> Trace:
    return Trace(actor(), now(), reason)
