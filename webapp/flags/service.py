"""Writes flags.  Each change is one version, one audit row and one revision, in one transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import CursorResult, delete, select, update

from webapp.actors import Actor
from webapp.audit.service import record
from webapp.audit.values import Change
from webapp.db import DbSession, after_commit
from webapp.errors import Conflict, Invalid
from webapp.flags.documents import plain
from webapp.flags.models import (
    REVISION_ROW,
    FeatureFlag,
    FeatureFlagError,
    FeatureFlagGuard,
    FlagRevision,
)
from webapp.flags.queries import get_flag
from webapp.flags.relations import dependents_of, references_of
from webapp.flags.rollout import Rollout, after_change, pause, started
from webapp.flags.snapshot import SnapshotStatus, flag_store
from webapp.flags.validation import (
    complaints_about,
    complaints_about_references,
)
from webapp.flags.values import RESERVED_NAMES, FlagChanges, FlagDraft, RolloutState
from webapp.reasons import MAX_REASON, checked_reason, complaint_about_reason
from webapp.versions import FIRST_VERSION, refuse_outdated, remove_version, write_version

# How the model spells a field of the draft, where they differ.
_COLUMNS: Final = {"metadata": "details"}


def create_flag(
    session: DbSession, draft: FlagDraft, *, by: Actor, now: datetime, reason: str
) -> FeatureFlag:
    """Make a flag; :class:`Conflict` where its name is taken, by an archived one too."""
    draft = replace(draft, stickiness=draft.stickiness or draft.name)
    if draft.name in RESERVED_NAMES:
        raise Invalid.field("name", f"{draft.name!r} is an address of the console's own.")
    raise_revision(session, now=now)
    refuse_draft(session, draft, reason)
    if session.scalar(select(FeatureFlag.id).where(FeatureFlag.name == draft.name)):
        raise Conflict(f"There is a flag {draft.name!r} already; it may be archived.")
    rollout = Rollout(
        plan=draft.rollout_plan,
        percentage=draft.percentage,
        enabled=draft.enabled,
        state=started(draft.rollout_plan, draft.percentage),
        since=now if draft.rollout_plan else None,
    )
    flag = FeatureFlag(
        **_stored(draft),
        **rollout_columns(rollout, by=by, reason=reason),
        version=FIRST_VERSION,
        created_at=now,
        created_by=by.name,
        updated_at=now,
        updated_by=by.name,
    )
    session.add(flag)
    session.flush()
    session.refresh(flag)
    given = {field: value for field, value in _as_given(draft).items() if value}
    changes = {field: Change(None, value) for field, value in given.items() if field != "name"}
    audit_flag(session, flag, "flag.created", by=by, now=now, reason=reason, changes=changes)
    return flag


def change_flag(  # noqa: PLR0913  # all but the first three are named at the call
    session: DbSession,
    name: str,
    changes: FlagChanges,
    *,
    by: Actor,
    now: datetime,
    reason: str,
    version: int | None = None,
) -> FeatureFlag:
    """Change the fields given; the same values again change nothing and leave no trace.

    ``version`` is the one that the change was made from: :class:`Conflict` where it has passed.
    None changes the flag whatever happened meanwhile, as a kill switch must.  Whoever moves the
    percentage or switches the flag off pauses a plan that runs.
    """
    flag = flag_to_change(session, name, version, now=now)
    if flag.archived_at is not None:
        raise Conflict(f"The flag {name!r} is archived; restore it first.")
    before = draft_of(flag)
    after = with_changes(before, changes)
    refuse_draft(session, after, reason)
    different = differences(before, after)
    if different:
        values = {_COLUMNS.get(field, field): plain(getattr(after, field)) for field in different}
        stood = flag.rollout()
        stands = after_change(stood, _with_draft(stood, after), now=now)
        if stands.state is not stood.state or stands.plan != stood.plan:
            values |= rollout_columns(stands, by=by, reason=reason)
            different |= state_change(stood, stands)
        write_version(session, flag, values, by=by, now=now)
        audit_flag(session, flag, "flag.updated", by=by, now=now, reason=reason, changes=different)
    return flag


def _with_draft(rollout: Rollout, draft: FlagDraft) -> Rollout:
    return replace(
        rollout, plan=draft.rollout_plan, percentage=draft.percentage, enabled=draft.enabled
    )


def rollout_columns(rollout: Rollout, *, by: Actor, reason: str) -> dict[str, Any]:
    """Return how a rollout stands as it is stored, beside plan and percentage."""
    return {
        "rollout_state": rollout.state,
        "rollout_next_at": rollout.next_at,
        "rollout_since": rollout.since,
        "rollout_by": by.name if rollout.since else None,
        "rollout_reason": reason.strip()[:MAX_REASON] if rollout.since else None,
    }


def state_change(stood: Rollout, stands: Rollout) -> dict[str, Change]:
    """Return the change of a rollout's state, if it is one."""
    if stood.state is stands.state:
        return {}
    return {"rollout_state": Change(stood.state.value, stands.state.value)}


def switch_flag(
    session: DbSession, name: str, *, enabled: bool, by: Actor, now: datetime, reason: str
) -> FeatureFlag:
    """Work the kill switch: it holds whatever else was changed meanwhile."""
    return change_flag(session, name, FlagChanges(enabled=enabled), by=by, now=now, reason=reason)


def archive_flag(
    session: DbSession,
    name: str,
    *,
    by: Actor,
    now: datetime,
    reason: str,
    version: int | None = None,
) -> FeatureFlag:
    """Take a flag out of use: it answers as unknown and leaves the lists, and keeps its history.

    :class:`Conflict` where flags in use build on it: they would be off from then on.
    """
    flag = flag_to_change(session, name, version, now=now)
    _refuse_dependents(session, name, archived=False)
    _set_archived(session, flag, now, by=by, now=now, reason=reason)
    return flag


def restore_flag(
    session: DbSession, name: str, *, by: Actor, now: datetime, reason: str
) -> FeatureFlag:
    """Bring an archived flag back as it was."""
    flag = flag_to_change(session, name, None, now=now)
    _set_archived(session, flag, None, by=by, now=now, reason=reason)
    return flag


def purge_flag(
    session: DbSession,
    name: str,
    *,
    by: Actor,
    now: datetime,
    reason: str,
    version: int | None = None,
) -> None:
    """Remove an archived flag for good; the audit keeps the state that it was last in."""
    flag = flag_to_change(session, name, version, now=now)
    reason = checked_reason(reason)
    if flag.archived_at is None:
        raise Conflict(f"The flag {name!r} is in use; archive it first.")
    _refuse_dependents(session, name, archived=True)
    state = _as_given(draft_of(flag))
    state |= {"version": flag.version, "archived_at": flag.archived_at}
    last = {field: Change(value, None) for field, value in state.items() if field != "name"}
    remove_version(session, flag)
    for seen in (FeatureFlagGuard, FeatureFlagError):
        session.execute(
            delete(seen).where(seen.flag == name).execution_options(synchronize_session=False)
        )
    audit_flag(session, flag, "flag.purged", by=by, now=now, reason=reason, changes=last)


def snapshot_status() -> SnapshotStatus:
    """Say how fresh the flags of this process are, for whoever reports on its health."""
    return flag_store().status()


def draft_of(flag: FeatureFlag) -> FlagDraft:
    """Return a stored flag as the draft that would make it anew."""
    decides = flag.definition()
    return FlagDraft(
        **{item.name: getattr(decides, item.name) for item in fields(decides)},
        description=flag.description,
        group=flag.group,
        tags=tuple(flag.tags),
        metadata=flag.details,
        rollout_plan=flag.rollout().plan,
        guards=flag.own_guards(),
    )


def with_changes(draft: FlagDraft, changes: FlagChanges) -> FlagDraft:
    """Return a draft with the fields that are given changed."""
    after = replace(draft, **changes.given())
    return replace(after, stickiness=after.stickiness or after.name)


def differences(before: FlagDraft, after: FlagDraft) -> dict[str, Change]:
    """Return the fields in which two drafts differ."""
    old, new = _as_given(before), _as_given(after)
    return {
        field: Change(old[field], new[field])
        for field in new
        if not _is_same(old[field], new[field])
    }


def _refresh_flags() -> None:
    # A function of the module: a hundred changes of one transaction ask for it once.
    flag_store().refresh()


def refuse_draft(session: DbSession, draft: FlagDraft, reason: str) -> None:
    """Raise :class:`Invalid` with all that is wrong with a flag and with the reason for it.

    What it refers to is looked up under the lock of the revision: nobody removes a segment that a
    flag is just being given.
    """
    errors = complaints_about(draft)
    if not errors:
        errors = complaints_about_references(draft, references_of(session, draft))
    if complaint := complaint_about_reason(reason):
        errors["reason"] = [complaint]
    refuse(errors)


def refuse(errors: Mapping[str, Sequence[str]]) -> None:
    """Raise :class:`Invalid` where there is anything to complain of."""
    if errors:
        field, messages = next(iter(errors.items()))
        raise Invalid(f"{field}: {messages[0]}", errors)


def _is_same(old: Any, new: Any) -> bool:
    """Compare two values as JSON does, for which 1 and true are not the same."""
    if isinstance(old, bool) != isinstance(new, bool):
        return False
    if isinstance(old, dict) and isinstance(new, dict):
        return old.keys() == new.keys() and all(_is_same(old[key], new[key]) for key in old)
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(map(_is_same, old, new))
    return bool(old == new)


def flag_to_change(
    session: DbSession, name: str, version: int | None, *, now: datetime
) -> FeatureFlag:
    """Wait for other writers, then read the flag as they left it; :class:`Conflict` as above."""
    raise_revision(session, now=now)
    flag = get_flag(session, name)
    session.refresh(flag)
    refuse_outdated(flag, version)
    return flag


def raise_revision(session: DbSession, *, now: datetime) -> None:
    """Tell every process that flags have changed, this one as soon as it is committed.

    The first of a deployment is the time in milliseconds, not 1: two deployments that share a Redis
    by mistake then never take each other's flags for their own.

    The row is locked until the transaction ends, so writers of flags come one after another, and
    whoever reads revision n sees all that was changed up to n.
    """
    raised = session.execute(
        update(FlagRevision)
        .where(FlagRevision.id == REVISION_ROW)
        .values(revision=FlagRevision.revision + 1)
    )
    if not (isinstance(raised, CursorResult) and raised.rowcount):
        session.add(FlagRevision(id=REVISION_ROW, revision=int(now.timestamp() * 1000)))
        session.flush()
    after_commit(session, _refresh_flags)


def _refuse_dependents(session: DbSession, name: str, *, archived: bool) -> None:
    if found := dependents_of(session, name, archived=archived):
        raise Conflict(f"{name} is a prerequisite of {', '.join(found)}; change that first.")


def _set_archived(
    session: DbSession,
    flag: FeatureFlag,
    archived_at: datetime | None,
    *,
    by: Actor,
    now: datetime,
    reason: str,
) -> None:
    reason = checked_reason(reason)
    if (flag.archived_at is None) == (archived_at is None):
        return
    changes = {"archived_at": Change(flag.archived_at, archived_at)}
    values: dict[str, Any] = {"archived_at": archived_at}
    stood = flag.rollout()
    if stood.state is RolloutState.RUNNING:
        # What comes back is not to be moved at once by steps that passed meanwhile.
        stands = pause(stood, now=now)
        values |= rollout_columns(stands, by=by, reason=reason)
        changes |= state_change(stood, stands)
    write_version(session, flag, values, by=by, now=now)
    action = "flag.archived" if archived_at else "flag.restored"
    audit_flag(session, flag, action, by=by, now=now, reason=reason, changes=changes)


def audit_flag(  # noqa: PLR0913  # as above
    session: DbSession,
    flag: FeatureFlag,
    action: str,
    *,
    by: Actor,
    now: datetime,
    reason: str,
    changes: Mapping[str, Change],
) -> None:
    """Write what was done to a flag into the audit."""
    record(
        session,
        by=by,
        at=now,
        action=action,
        subject="flag",
        name=flag.name,
        reason=reason.strip(),
        changes=changes,
    )


def _stored(draft: FlagDraft) -> dict[str, Any]:
    return {_COLUMNS.get(field, field): value for field, value in _as_given(draft).items()}


def _as_given(draft: FlagDraft) -> dict[str, Any]:
    return {item.name: plain(getattr(draft, item.name)) for item in fields(draft)}
