"""Carries flags from one deployment to another: the whole state as values, and back.

It changes flags through the service only, so an imported flag is held to the rules of every other
and leaves the same trace.  What it reads and writes is values; JSON is the edge's matter.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import partial
from graphlib import CycleError, TopologicalSorter
from typing import Any

from webapp.actors import Actor
from webapp.audit.values import Change
from webapp.db import DbSession
from webapp.errors import Conflict, DomainError, FieldErrors, Invalid
from webapp.flags.models import FeatureFlag
from webapp.flags.queries import all_flags
from webapp.flags.relations import list_groups, list_segments
from webapp.flags.service import (
    archive_flag,
    change_flag,
    create_flag,
    differences,
    draft_of,
    restore_flag,
    with_changes,
)
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
from webapp.flags.values import FlagChanges, FlagDraft, GroupDraft, SegmentDraft
from webapp.reasons import checked_reason


class ImportOutcome(StrEnum):
    """What an import makes of one flag."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedFlag:
    """A flag as an import wants it: what is not given stays, or is the default of a new flag."""

    name: str
    changes: FlagChanges
    archived: bool | None = None


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
class Imported:
    """What became of one flag, group or segment, and what changed or why it was refused."""

    outcome: ImportOutcome
    changes: Mapping[str, Change] = field(default_factory=dict)
    errors: FieldErrors = field(default_factory=dict)


Results = dict[str, Imported]
_Write = Callable[[DbSession, Any, Trace], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportResults:
    """What became of everything that an import names."""

    groups: Results = field(default_factory=dict)
    segments: Results = field(default_factory=dict)
    flags: Results = field(default_factory=dict)


def export_all(session: DbSession) -> Export:
    """Return every group, segment and flag."""
    return Export(
        groups=[group_draft(item.group) for item in list_groups(session)],
        segments=[segment_draft(item.segment) for item in list_segments(session)],
        flags=[(draft_of(flag), flag.archived_at is not None) for flag in all_flags(session)],
    )


def import_all(
    session: DbSession, wanted: Wanted, *, by: Actor, now: datetime, reason: str
) -> ImportResults:
    """Create and change groups, segments and flags; those that are not named stay as they are.

    What is refused is told as such and keeps nothing else from being tried, so that all refusals
    are known at once.  Whoever wants all or nothing rolls back where there is one.
    """
    reason = checked_reason(reason)
    run = _Import(session=session, trace=Trace(by, now, reason))
    return ImportResults(
        groups=run.take_groups(wanted.groups),
        segments=run.take_segments(wanted.segments),
        flags=run.take_flags(wanted.flags),
    )


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


def counts_of(results: Results) -> dict[str, int]:
    """Return how many came to each outcome."""
    counted = Counter(item.outcome for item in results.values())
    return {outcome.value: counted[outcome] for outcome in ImportOutcome}


def refused(error: DomainError) -> Imported:
    """Return the result of a flag that broke a rule."""
    errors = error.errors if isinstance(error, Invalid) else {}
    return Imported(outcome=ImportOutcome.REFUSED, errors=errors or {"version": [error.detail]})


def _in_order(wanted: Sequence[WantedFlag]) -> list[WantedFlag]:
    """Return flags behind those that they build on; of a circle the service complains."""
    needs: dict[str, list[str]] = {}
    for item in wanted:
        given = item.changes.given().get("prerequisites", ())
        needs[item.name] = [prerequisite.flag for prerequisite in given]
    try:
        order = {name: place for place, name in enumerate(TopologicalSorter(needs).static_order())}
    except CycleError:
        return list(wanted)
    return sorted(wanted, key=lambda item: order[item.name])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Import:
    """One import: who does it, when and why, which every change of it shares."""

    session: DbSession
    trace: Trace

    def take_groups(self, wanted: Sequence[GroupDraft]) -> Results:
        """Make groups what they are to be."""
        stand = {item.group.name: group_draft(item.group) for item in list_groups(self.session)}
        return self._take_shared(wanted, stand, create_group, change_group)

    def take_segments(self, wanted: Sequence[SegmentDraft]) -> Results:
        """Make segments what they are to be."""
        found = list_segments(self.session)
        stand = {item.segment.name: segment_draft(item.segment) for item in found}
        return self._take_shared(wanted, stand, create_segment, change_segment)

    def take_flags(self, wanted: Sequence[WantedFlag]) -> Results:
        """Make flags what they are to be."""
        stored = {flag.name: flag for flag in all_flags(self.session)}
        results: Results = {}
        for item in _in_order(wanted):
            self._note(results, item.name, partial(self._take, item, stored.get(item.name)))
        self._archive_last(results, [stored[item.name] for item in wanted if item.name in stored])
        return results

    def _archive_last(self, results: Results, stored: Sequence[FeatureFlag]) -> None:
        """Archive what was in use, each behind those that build on it and all behind the changes.

        So they may let go of each other in the same import, or leave together.
        """
        leaving = {flag.name: flag for flag in stored if _is_leaving(results[flag.name])}
        needs = {
            name: [item["flag"] for item in flag.prerequisites] for name, flag in leaving.items()
        }
        for name in reversed(list(TopologicalSorter(needs).static_order())):
            if name in leaving:
                self._note(results, name, partial(self._archive, name, results.pop(name)))

    def _archive(self, name: str, done: Imported) -> Imported:
        archive_flag(self.session, name, **self._named())
        return done

    def _take_shared(
        self, wanted: Sequence[Any], stand: Mapping[str, Any], create: _Write, change: _Write
    ) -> Results:
        results: Results = {}
        for draft in wanted:
            before = stand.get(draft.name)
            write = create if before is None else change
            self._note(results, draft.name, partial(self._share, draft, before, write))
        return results

    def _share(self, draft: Any, before: Any, write: _Write) -> Imported:
        changes = changes_of(before, draft)
        if before is not None and not changes:
            return Imported(outcome=ImportOutcome.UNCHANGED)
        write(self.session, draft, self.trace)
        outcome = ImportOutcome.CREATED if before is None else ImportOutcome.UPDATED
        return Imported(outcome=outcome, changes=changes)

    def _note(self, results: Results, name: str, take: Callable[[], Imported]) -> None:
        try:
            if name in results:
                raise Invalid.field("name", "Given twice.")
            results[name] = take()
        except (Invalid, Conflict) as error:
            results[name] = refused(error)

    def _take(self, item: WantedFlag, flag: FeatureFlag | None) -> Imported:
        """Make a flag what it is to be; None is one that does not exist yet."""
        return self._create(item) if flag is None else self._change(item, flag)

    def _create(self, item: WantedFlag) -> Imported:
        draft = FlagDraft(name=item.name, **item.changes.given())
        made = create_flag(self.session, draft, **self._named())
        changes = differences(FlagDraft(name=item.name), draft_of(made))
        if item.archived:
            archive_flag(self.session, item.name, **self._named())
            changes |= _moved(was=False, archived=True)
        return Imported(outcome=ImportOutcome.CREATED, changes=changes)

    def _change(self, item: WantedFlag, flag: FeatureFlag) -> Imported:
        was = flag.archived_at is not None
        archived = was if item.archived is None else item.archived
        before = draft_of(flag)
        changes = differences(before, with_changes(before, item.changes))
        if not changes and archived == was:
            return Imported(outcome=ImportOutcome.UNCHANGED)
        # An archived flag cannot be changed: it is brought back for the change.
        if was:
            restore_flag(self.session, flag.name, **self._named())
        change_flag(self.session, flag.name, item.changes, **self._named())
        if was and archived:
            archive_flag(self.session, flag.name, **self._named())
        moved = {} if archived == was else _moved(was=was, archived=archived)
        return Imported(outcome=ImportOutcome.UPDATED, changes=changes | moved)

    def _named(self) -> dict[str, Any]:
        return self.trace._asdict()


def _moved(*, was: bool, archived: bool) -> dict[str, Change]:
    return {"archived": Change(was, archived)}


def _is_leaving(taken: Imported) -> bool:
    """Tell whether a flag that was in use is to be archived."""
    moved = taken.changes.get("archived")
    return moved is not None and moved.new is True
