"""Carries flags from one deployment to another: the whole state as values, and back.

An import is decided as a whole before it takes the lock of those who write, and is written in a
few statements then; it holds flags to the rules of the service, and leaves the same trace.  What
is read and written here is values; JSON is the edge's matter.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Final

from webapp.actors import Actor
from webapp.db import DbSession, write_from_here
from webapp.flags.models import FeatureFlag
from webapp.flags.planning import (
    FlagPlan,
    Found,
    Imported,
    ImportOutcome,
    Results,
    WantedFlag,
    note,
)
from webapp.flags.queries import all_flags, read_revision, rows_by_name
from webapp.flags.relations import (
    all_groups,
    all_needs,
    all_segments,
    list_groups,
    list_segments,
)
from webapp.flags.service import add_flags, audit_turn, draft_of, raise_revision, refuse
from webapp.flags.shared import (
    Trace,
    change_group,
    change_segment,
    changes_of,
    create_group,
    create_segment,
    group_draft,
    segment_draft,
)
from webapp.flags.validation import (
    Complaints,
    complaints_about_group,
    complaints_about_segment,
)
from webapp.flags.values import FlagDraft, GroupDraft, SegmentDraft
from webapp.reasons import checked_reason
from webapp.versions import write_versions


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """All that an import wants; what flags refer to comes before them."""

    groups: Sequence[GroupDraft] = ()
    segments: Sequence[SegmentDraft] = ()
    flags: Sequence[WantedFlag] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """The whole state: each flag with whether it is archived, everything by name."""

    groups: Sequence[GroupDraft]
    segments: Sequence[SegmentDraft]
    flags: Sequence[tuple[FlagDraft, bool]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportResults:
    """What became of everything that an import names."""

    groups: Results = field(default_factory=dict)
    segments: Results = field(default_factory=dict)
    flags: Results = field(default_factory=dict)

    def outcomes(self) -> set[ImportOutcome]:
        """Return what happened to anything."""
        kinds = (self.groups, self.segments, self.flags)
        return {item.outcome for results in kinds for item in results.values()}


def export_all(session: DbSession) -> Export:
    """Return every group, segment and flag."""
    return Export(
        groups=[group_draft(item.group) for item in list_groups(session)],
        segments=[segment_draft(item.segment) for item in list_segments(session)],
        flags=[(draft_of(flag), flag.archived_at is not None) for flag in all_flags(session)],
    )


def import_all(
    session: DbSession,
    wanted: Wanted,
    *,
    by: Actor,
    now: datetime,
    reason: str,
    dry_run: bool = False,
) -> ImportResults:
    """Create and change groups, segments and flags; those that are not named stay as they are.

    What is refused is told as such and keeps nothing else from being tried, so that all refusals
    are known at once.  Where there is one, or in a dry run, nothing is written.
    """
    trace = Trace(by, now, checked_reason(reason))
    plan = _Plan(session, wanted, trace)
    if dry_run or not plan.is_to_be_written():
        return plan.results
    write_from_here(session)
    if raise_revision(session, now=now) != plan.revision:
        # Somebody has changed flags since they were read; from here on nobody does.
        plan = _Plan(session, wanted, trace)
    if plan.is_to_be_written():
        plan.write(session)
    return plan.results


def errors_of(results: Mapping[str, Results]) -> dict[str, list[str]]:
    """Return what is wrong, by name; what is not a flag bears its kind before its name."""
    return {
        name if kind == "flags" else f"{kind}.{name}": [
            f"{field}: {message}" for field, texts in item.errors.items() for message in texts
        ]
        for kind, found in results.items()
        for name, item in found.items()
        if item.outcome is ImportOutcome.REFUSED
    }


_Write = Callable[[DbSession, Any, Trace], object]


class _Plan:
    """All that an import will do, as flags stand at one revision."""

    def __init__(self, session: DbSession, wanted: Wanted, trace: Trace) -> None:
        # First, so that whatever changes while the rest is read makes this one outdated.
        self.revision = read_revision(session)
        self._trace = trace
        groups = {item.name: group_draft(item) for item in all_groups(session)}
        segments = {item.name: segment_draft(item) for item in all_segments(session)}
        self._groups = _SharedPlan(_GROUPS, wanted.groups, groups)
        self._segments = _SharedPlan(_SEGMENTS, wanted.segments, segments)
        self._flags = FlagPlan(self._found(session, wanted.flags), wanted.flags, trace)
        self.results = ImportResults(
            groups=self._groups.results,
            segments=self._segments.results,
            flags=self._flags.results,
        )

    def is_to_be_written(self) -> bool:
        """Tell whether there is something to do, and nothing that keeps it from being done."""
        outcomes = self.results.outcomes()
        return ImportOutcome.REFUSED not in outcomes and bool(outcomes - {ImportOutcome.UNCHANGED})

    def write(self, session: DbSession) -> None:
        """Write all of it, for whoever holds the lock of the revision that it was made from."""
        for write, draft in (*self._groups.writes, *self._segments.writes):
            write(session, draft, self._trace)
        by, now, reason = self._trace
        add_flags(session, self._flags.rows())
        write_versions(session, FeatureFlag, self._flags.versions(), by=by, now=now)
        for name, turn in self._flags.turns:
            audit_turn(session, name, turn, by=by, now=now, reason=reason)

    def _found(self, session: DbSession, wanted: Sequence[WantedFlag]) -> Found:
        needs = all_needs(session)
        return Found(
            flags=rows_by_name(session, [item.name for item in wanted]),
            needs={item.name: item.flags for item in needs},
            in_use={item.name for item in needs if not item.archived},
            segments=self._segments.known,
            groups=self._groups.known,
        )


@dataclass(frozen=True, slots=True)
class _Kind:
    """How one kind of what flags share is checked and written."""

    complaints: Callable[[Any], Complaints]
    create: _Write
    change: _Write


_GROUPS: Final = _Kind(complaints_about_group, create_group, change_group)
_SEGMENTS: Final = _Kind(complaints_about_segment, create_segment, change_segment)


class _SharedPlan:
    """What an import makes of groups or segments; ``known`` are those that there are then."""

    def __init__(self, kind: _Kind, wanted: Sequence[Any], stand: Mapping[str, Any]) -> None:
        self.results: Results = {}
        self.writes: list[tuple[_Write, Any]] = []
        self.known = set(stand)
        self._kind = kind
        for draft in wanted:
            before = stand.get(draft.name)
            note(self.results, draft.name, partial(self._take, draft, before))

    def _take(self, draft: Any, before: Any) -> Imported:
        changes = changes_of(before, draft)
        if before is not None and not changes:
            return Imported(outcome=ImportOutcome.UNCHANGED)
        refuse(self._kind.complaints(draft))
        self.known.add(draft.name)
        if before is None:
            self.writes.append((self._kind.create, draft))
            return Imported(outcome=ImportOutcome.CREATED, changes=changes)
        self.writes.append((self._kind.change, draft))
        return Imported(outcome=ImportOutcome.UPDATED, changes=changes)
