"""Writes flags.  Each change is one version, one audit row and one revision, in one transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any, Final

from sqlalchemy import delete, insert, select, update

from webapp.actors import Actor
from webapp.audit.service import record
from webapp.audit.values import Change
from webapp.db import DbSession, after_commit
from webapp.errors import Conflict, Invalid
from webapp.flags.documents import guard_from
from webapp.flags.lifecycle import (
    Standing,
    Turn,
    archived,
    as_given,
    changed,
    completed,
    made,
    with_changes,
)
from webapp.flags.models import (
    REVISION_ROW,
    FeatureFlag,
    FeatureFlagError,
    FeatureFlagGuard,
    FlagRevision,
    definition_of,
    rollout_of,
)
from webapp.flags.queries import get_flag
from webapp.flags.relations import dependents_of, references_of
from webapp.flags.snapshot import SnapshotStatus, flag_store
from webapp.flags.validation import (
    complaints_about,
    complaints_about_references,
)
from webapp.flags.values import RESERVED_NAMES, FlagChanges, FlagDefinition, FlagDraft
from webapp.reasons import checked_reason, complaint_about_reason
from webapp.versions import FIRST_VERSION, refuse_outdated, remove_version, write_version

_DECIDING: Final = tuple(item.name for item in fields(FlagDefinition))


def create_flag(
    session: DbSession, draft: FlagDraft, *, by: Actor, now: datetime, reason: str
) -> FeatureFlag:
    """Make a flag; :class:`Conflict` where its name is taken, by an archived one too."""
    draft = completed(draft)
    refuse_reserved(draft.name)
    raise_revision(session, now=now)
    refuse_draft(session, draft, reason)
    if session.scalar(select(FeatureFlag.id).where(FeatureFlag.name == draft.name)):
        raise Conflict(f"There is a flag {draft.name!r} already; it may be archived.")
    turn = made(draft, by=by, now=now, reason=reason)
    flag = FeatureFlag(**turn.values, **first_columns(by=by, now=now))
    session.add(flag)
    session.flush()
    session.refresh(flag)
    audit_turn(session, flag.name, turn, by=by, now=now, reason=reason)
    return flag


def add_flags(session: DbSession, rows: Sequence[Mapping[str, Any]]) -> None:
    """Store flags that are made together; the caller has checked them, and audits each."""
    if rows:
        session.execute(insert(FeatureFlag), rows)


def refuse_reserved(name: str) -> None:
    """Raise :class:`Invalid` where addresses have this in the place of a flag's name."""
    if name in RESERVED_NAMES:
        raise Invalid.field("name", f"{name!r} is an address of the console's own.")


def first_columns(*, by: Actor, now: datetime) -> dict[str, Any]:
    """Return the columns of a flag's first version that say whose it is."""
    return {
        "version": FIRST_VERSION,
        "created_at": now,
        "created_by": by.name,
        "updated_at": now,
        "updated_by": by.name,
    }


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
    stands = standing_of(flag)
    after = with_changes(stands.draft, changes)
    refuse_draft(session, after, reason)
    turn = changed(stands, after, by=by, now=now, reason=reason)
    _take(session, flag, turn, by=by, now=now, reason=reason)
    return flag


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
    refuse_dependents(name, dependents_of(session, name, archived=False))
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
    refuse_dependents(name, dependents_of(session, name, archived=True))
    state = as_given(draft_of(flag))
    state |= {"version": flag.version, "archived_at": flag.archived_at}
    last = {field: Change(value, None) for field, value in state.items() if field != "name"}
    remove_version(session, flag)
    for seen in (FeatureFlagGuard, FeatureFlagError):
        session.execute(
            delete(seen).where(seen.flag == name).execution_options(synchronize_session=False)
        )
    audit_flag(session, name, "flag.purged", by=by, now=now, reason=reason, changes=last)


def snapshot_status() -> SnapshotStatus:
    """Say how fresh the flags of this process are, for whoever reports on its health."""
    return flag_store().status()


def draft_of(flag: Any) -> FlagDraft:
    """Return a flag, or a row with its columns, as the draft that would make it anew."""
    decides = definition_of(flag)
    return FlagDraft(
        **{name: getattr(decides, name) for name in _DECIDING},
        description=flag.description,
        group=flag.group,
        tags=tuple(flag.tags),
        metadata=flag.details,
        rollout_plan=rollout_of(flag).plan,
        guards=tuple(map(guard_from, flag.guards)),
    )


def standing_of(flag: Any) -> Standing:
    """Return how a flag stands, or a row with its columns."""
    return Standing(draft=draft_of(flag), rollout=rollout_of(flag), archived_at=flag.archived_at)


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


def flag_to_change(
    session: DbSession, name: str, version: int | None, *, now: datetime
) -> FeatureFlag:
    """Wait for other writers, then read the flag as they left it; :class:`Conflict` as above."""
    raise_revision(session, now=now)
    flag = get_flag(session, name)
    session.refresh(flag)
    refuse_outdated(flag, version)
    return flag


def raise_revision(session: DbSession, *, now: datetime) -> int:
    """Tell every process that flags have changed, this one as soon as it is committed.

    Returns the revision that stood before, 0 where there was none.  The first of a deployment is
    the time in milliseconds, not 1: two deployments that share a Redis by mistake then never take
    each other's flags for their own.

    The row is locked until the transaction ends, so writers of flags come one after another, and
    whoever reads revision n sees all that was changed up to n.
    """
    after_commit(session, _refresh_flags)
    raised = session.scalar(
        update(FlagRevision)
        .where(FlagRevision.id == REVISION_ROW)
        .values(revision=FlagRevision.revision + 1)
        .returning(FlagRevision.revision)
        .execution_options(synchronize_session=False)
    )
    if raised is not None:
        return raised - 1
    session.add(FlagRevision(id=REVISION_ROW, revision=int(now.timestamp() * 1000)))
    session.flush()
    return 0


def refuse_dependents(name: str, dependents: Sequence[str]) -> None:
    """Raise :class:`Conflict` where flags build on this one."""
    if dependents:
        raise Conflict(f"{name} is a prerequisite of {', '.join(dependents)}; change that first.")


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
    turn = archived(standing_of(flag), archived_at, by=by, now=now, reason=reason)
    _take(session, flag, turn, by=by, now=now, reason=reason)


def _take(
    session: DbSession,
    flag: FeatureFlag,
    turn: Turn | None,
    *,
    by: Actor,
    now: datetime,
    reason: str,
) -> None:
    """Write a turn as the next version of its flag, if it is one."""
    if turn is not None:
        write_version(session, flag, turn.values, by=by, now=now)
        audit_turn(session, flag.name, turn, by=by, now=now, reason=reason)


def audit_turn(
    session: DbSession, name: str, turn: Turn, *, by: Actor, now: datetime, reason: str
) -> None:
    """Write a turn of a flag into the audit."""
    changes = turn.changes
    audit_flag(session, name, turn.action, by=by, now=now, reason=reason, changes=changes)


def audit_flag(  # noqa: PLR0913  # as above
    session: DbSession,
    name: str,
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
        name=name,
        reason=reason.strip(),
        changes=changes,
    )
