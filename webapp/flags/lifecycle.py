"""What becomes of a flag that is made, changed, archived or brought back.  Pure.

A :class:`Turn` is all of it: what is to be stored, and what the audit tells.  One flag is written
at once by the service, thousands together by an import; both ask here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any, Final

from webapp.actors import Actor
from webapp.audit.values import Change
from webapp.flags.documents import plain
from webapp.flags.rollout import Rollout, after_change, pause, started
from webapp.flags.values import FlagChanges, FlagDraft, RolloutState
from webapp.reasons import MAX_REASON

# How the model spells a field of the draft, where they differ.
_COLUMNS: Final = {"metadata": "details"}
_FIELDS: Final = tuple(item.name for item in fields(FlagDraft))


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a flag stands: what it was drafted as, how its plan goes, whether it is archived."""

    draft: FlagDraft
    rollout: Rollout
    archived_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One change of a flag: ``values`` are stored, ``changes`` and ``action`` audited."""

    action: str
    values: Mapping[str, Any]
    changes: Mapping[str, Change]
    after: Standing


def made(draft: FlagDraft, *, by: Actor, now: datetime, reason: str) -> Turn:
    """Return how a flag begins."""
    rollout = Rollout(
        plan=draft.rollout_plan,
        percentage=draft.percentage,
        enabled=draft.enabled,
        state=started(draft.rollout_plan, draft.percentage),
        since=now if draft.rollout_plan else None,
    )
    given = as_given(draft)
    stored = {_COLUMNS.get(field, field): value for field, value in given.items()}
    told = {field: value for field, value in given.items() if value and field != "name"}
    return Turn(
        action="flag.created",
        values=stored | rollout_columns(rollout, by=by, reason=reason),
        changes={field: Change(None, value) for field, value in told.items()},
        after=Standing(draft=draft, rollout=rollout),
    )


def changed(
    stands: Standing, draft: FlagDraft, *, by: Actor, now: datetime, reason: str
) -> Turn | None:
    """Return what a flag becomes by a draft; None where that changes nothing.

    Whoever moves the percentage or switches the flag off pauses a plan that runs.
    """
    different = differences(stands.draft, draft)
    if not different:
        return None
    values = {_COLUMNS.get(field, field): plain(getattr(draft, field)) for field in different}
    stood = stands.rollout
    wanted = replace(
        stood, plan=draft.rollout_plan, percentage=draft.percentage, enabled=draft.enabled
    )
    rollout = after_change(stood, wanted, now=now)
    if rollout.state is not stood.state or rollout.plan != stood.plan:
        values |= rollout_columns(rollout, by=by, reason=reason)
        different |= state_change(stood, rollout)
    return Turn(
        action="flag.updated",
        values=values,
        changes=different,
        after=replace(stands, draft=draft, rollout=rollout),
    )


def archived(
    stands: Standing, archived_at: datetime | None, *, by: Actor, now: datetime, reason: str
) -> Turn | None:
    """Return what a flag becomes that leaves, or with None comes back; None where it has."""
    if (stands.archived_at is None) == (archived_at is None):
        return None
    changes = {"archived_at": Change(stands.archived_at, archived_at)}
    values: dict[str, Any] = {"archived_at": archived_at}
    stood = rollout = stands.rollout
    if stood.state is RolloutState.RUNNING:
        # What comes back is not to be moved at once by steps that passed meanwhile.
        rollout = pause(stood, now=now)
        values |= rollout_columns(rollout, by=by, reason=reason)
        changes |= state_change(stood, rollout)
    return Turn(
        action="flag.archived" if archived_at else "flag.restored",
        values=values,
        changes=changes,
        after=replace(stands, rollout=rollout, archived_at=archived_at),
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


def completed(draft: FlagDraft) -> FlagDraft:
    """Return a draft with what was left to be filled in."""
    return replace(draft, stickiness=draft.stickiness or draft.name)


def with_changes(draft: FlagDraft, changes: FlagChanges) -> FlagDraft:
    """Return a draft with the fields that are given changed."""
    return completed(replace(draft, **changes.given()))


def differences(before: FlagDraft, after: FlagDraft) -> dict[str, Change]:
    """Return the fields in which two drafts differ."""
    old, new = as_given(before), as_given(after)
    return {
        field: Change(old[field], new[field])
        for field in new
        if not _is_same(old[field], new[field])
    }


def as_given(draft: FlagDraft) -> dict[str, Any]:
    """Return the fields of a draft as JSON can hold them, by name."""
    return {field: plain(getattr(draft, field)) for field in _FIELDS}


def _is_same(old: Any, new: Any) -> bool:
    """Compare two values as JSON does, for which 1 and true are not the same."""
    if isinstance(old, bool) != isinstance(new, bool):
        return False
    if isinstance(old, dict) and isinstance(new, dict):
        return old.keys() == new.keys() and all(_is_same(old[key], new[key]) for key in old)
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(map(_is_same, old, new))
    return bool(old == new)
