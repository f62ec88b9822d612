"""Writes what flags share: segments and groups.  Each change is one version and one audit entry.

They are changed under the same lock as flags, so that nobody removes what a flag is just being
given.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from webapp.actors import Actor
from webapp.audit.service import record
from webapp.audit.values import Change
from webapp.db import DbSession
from webapp.errors import Conflict
from webapp.flags.documents import plain
from webapp.flags.models import FlagGroup, FlagSegment
from webapp.flags.relations import flags_in_group, flags_with_segment, get_group, get_segment
from webapp.flags.service import raise_revision, refuse
from webapp.flags.validation import (
    Complaints,
    complaints_about_group,
    complaints_about_segment,
)
from webapp.flags.values import GroupDraft, SegmentDraft
from webapp.reasons import complaint_about_reason
from webapp.versions import FIRST_VERSION, refuse_outdated, remove_version, write_version

Shared = TypeVar("Shared", FlagSegment, FlagGroup)


class Trace(NamedTuple):
    """Who changes something, when and why."""

    by: Actor
    now: datetime
    reason: str


def create_segment(session: DbSession, draft: SegmentDraft, trace: Trace) -> FlagSegment:
    """Make a segment; :class:`Conflict` where its name is taken."""
    return _create(session, FlagSegment, draft, complaints_about_segment(draft), trace)


def change_segment(
    session: DbSession, draft: SegmentDraft, trace: Trace, *, version: int | None = None
) -> FlagSegment:
    """Make a segment what the draft says; what rules decide by it changes at once.

    ``version`` is the one that the change was made from: :class:`Conflict` where it has passed.
    """
    raise_revision(session, now=trace.now)
    segment = get_segment(session, draft.name)
    session.refresh(segment)
    refuse_outdated(segment, version)
    _refuse(complaints_about_segment(draft), trace)
    return _write(session, segment, changes_of(segment_draft(segment), draft), trace)


def remove_segment(session: DbSession, name: str, trace: Trace) -> None:
    """Remove a segment; :class:`Conflict` where a flag's rule names it."""
    raise_revision(session, now=trace.now)
    segment = get_segment(session, name)
    users = flags_with_segment(session, name)
    _remove(session, segment, plain(segment_draft(segment)), users, trace)


def create_group(session: DbSession, draft: GroupDraft, trace: Trace) -> FlagGroup:
    """Make a group; :class:`Conflict` where its name is taken."""
    return _create(session, FlagGroup, draft, complaints_about_group(draft), trace)


def change_group(
    session: DbSession, draft: GroupDraft, trace: Trace, *, version: int | None = None
) -> FlagGroup:
    """Make a group what the draft says; ``version`` as for segments."""
    raise_revision(session, now=trace.now)
    group = get_group(session, draft.name)
    session.refresh(group)
    refuse_outdated(group, version)
    _refuse(complaints_about_group(draft), trace)
    return _write(session, group, changes_of(group_draft(group), draft), trace)


def remove_group(session: DbSession, name: str, trace: Trace) -> None:
    """Remove a group; :class:`Conflict` where a flag is in it."""
    raise_revision(session, now=trace.now)
    group = get_group(session, name)
    users = flags_in_group(session, name)
    _remove(session, group, plain(group_draft(group)), users, trace)


def segment_draft(segment: FlagSegment) -> SegmentDraft:
    """Return a stored segment as the draft that would make it anew."""
    return SegmentDraft(
        name=segment.name,
        description=segment.description,
        conditions=segment.as_conditions(),
    )


def group_draft(group: FlagGroup) -> GroupDraft:
    """Return a stored group as the draft that would make it anew."""
    return GroupDraft(name=group.name, description=group.description)


def changes_of(
    before: SegmentDraft | GroupDraft | None, after: SegmentDraft | GroupDraft
) -> dict[str, Change]:
    """Return the fields in which two drafts differ; None is one that does not exist yet."""
    new = plain(after)
    old = plain(before) if before is not None else dict.fromkeys(new)
    fields = (name for name in new if name != "name" and (new[name] or old[name]))
    return {name: Change(old[name], new[name]) for name in fields if old[name] != new[name]}


def _create(
    session: DbSession,
    model: type[Shared],
    draft: SegmentDraft | GroupDraft,
    errors: Complaints,
    trace: Trace,
) -> Shared:
    _refuse(errors, trace)
    raise_revision(session, now=trace.now)
    if session.get(model, draft.name) is not None:
        raise Conflict(f"There is a {_noun(model)} {draft.name!r} already.")
    made = model(
        **plain(draft),
        version=FIRST_VERSION,
        created_at=trace.now,
        created_by=trace.by.name,
        updated_at=trace.now,
        updated_by=trace.by.name,
    )
    session.add(made)
    session.flush()
    _audit(session, made, "created", changes_of(None, draft), trace)
    return made


def _write(
    session: DbSession, stored: Shared, changes: Mapping[str, Change], trace: Trace
) -> Shared:
    """Store changes as the next version."""
    if not changes:
        return stored
    new = {field: change.new for field, change in changes.items()}
    write_version(session, stored, new, by=trace.by, now=trace.now)
    _audit(session, stored, "updated", changes, trace)
    return stored


def _remove(
    session: DbSession, stored: Shared, state: Mapping[str, Any], users: list[str], trace: Trace
) -> None:
    _refuse({}, trace)
    if users:
        raise Conflict(f"{stored.name} is used by {', '.join(users)}; change those first.")
    remove_version(session, stored)
    changes = {name: Change(old, None) for name, old in state.items() if name != "name" and old}
    _audit(session, stored, "removed", changes, trace)


def _refuse(errors: Complaints, trace: Trace) -> None:
    complaint = complaint_about_reason(trace.reason)
    refuse(errors | ({"reason": [complaint]} if complaint else {}))


def _audit(
    session: DbSession,
    stored: FlagSegment | FlagGroup,
    happened: str,
    changes: Mapping[str, Change],
    trace: Trace,
) -> None:
    noun = _noun(type(stored))
    record(
        session,
        by=trace.by,
        at=trace.now,
        action=f"{noun}.{happened}",
        subject=noun,
        name=stored.name,
        reason=trace.reason.strip(),
        changes=changes,
    )


def _noun(model: type[FlagSegment | FlagGroup]) -> str:
    return "segment" if model is FlagSegment else "group"
