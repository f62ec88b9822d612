"""Carries flags from one deployment to another: the whole state as values, and back.

It changes flags through the service only, so an imported flag is held to the rules of every other
and leaves the same trace.  What it reads and writes is values; JSON is the edge's matter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from webapp.actors import Actor
from webapp.audit.values import Change
from webapp.db import DbSession
from webapp.errors import Conflict, DomainError, FieldErrors, Invalid
from webapp.flags.models import FeatureFlag
from webapp.flags.queries import all_flags
from webapp.flags.service import (
    archive_flag,
    change_flag,
    create_flag,
    differences,
    draft_of,
    refuse_reason,
    restore_flag,
    with_changes,
)
from webapp.flags.values import FlagChanges, FlagDraft


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
class ImportedFlag:
    """What became of one flag, and what changed or why it was refused."""

    outcome: ImportOutcome
    changes: Mapping[str, Change] = field(default_factory=dict)
    errors: FieldErrors = field(default_factory=dict)


def export_flags(session: DbSession) -> list[tuple[FlagDraft, bool]]:
    """Return every flag by name, and whether it is archived."""
    return [(draft_of(flag), flag.archived_at is not None) for flag in all_flags(session)]


def import_flags(
    session: DbSession, wanted: Sequence[WantedFlag], *, by: Actor, now: datetime, reason: str
) -> dict[str, ImportedFlag]:
    """Create and change flags; those that are not named stay as they are.

    A flag that is refused is told as such and keeps none of the others from being tried, so that
    all refusals are known at once.  Whoever wants all or nothing rolls back where there is one.
    """
    refuse_reason(reason)
    stored = {flag.name: flag for flag in all_flags(session)}
    run = _Import(session=session, by=by, now=now, reason=reason)
    results: dict[str, ImportedFlag] = {}
    for item in wanted:
        try:
            if item.name in results:
                raise Invalid.field("name", "Given twice.")
            results[item.name] = run.take(item, stored.get(item.name))
        except (Invalid, Conflict) as error:
            results[item.name] = refused(error)
    return results


def refused(error: DomainError) -> ImportedFlag:
    """Return the result of a flag that broke a rule."""
    errors = error.errors if isinstance(error, Invalid) else {}
    return ImportedFlag(outcome=ImportOutcome.REFUSED, errors=errors or {"version": [error.detail]})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Import:
    """One import: who does it, when and why, which every change of it shares."""

    session: DbSession
    by: Actor
    now: datetime
    reason: str

    def take(self, item: WantedFlag, flag: FeatureFlag | None) -> ImportedFlag:
        """Make a flag what it is to be; None is one that does not exist yet."""
        return self._create(item) if flag is None else self._change(item, flag)

    def _create(self, item: WantedFlag) -> ImportedFlag:
        draft = FlagDraft(name=item.name, **item.changes.given())
        made = create_flag(self.session, draft, by=self.by, now=self.now, reason=self.reason)
        changes = differences(FlagDraft(name=item.name), draft_of(made))
        if item.archived:
            self._archive(item.name)
            changes |= _moved(was=False, archived=True)
        return ImportedFlag(outcome=ImportOutcome.CREATED, changes=changes)

    def _change(self, item: WantedFlag, flag: FeatureFlag) -> ImportedFlag:
        was = flag.archived_at is not None
        archived = was if item.archived is None else item.archived
        before = draft_of(flag)
        changes = differences(before, with_changes(before, item.changes))
        if not changes and archived == was:
            return ImportedFlag(outcome=ImportOutcome.UNCHANGED)
        # An archived flag cannot be changed: it is brought back for the change.
        if was:
            restore_flag(self.session, flag.name, by=self.by, now=self.now, reason=self.reason)
        change_flag(
            self.session, flag.name, item.changes, by=self.by, now=self.now, reason=self.reason
        )
        if archived:
            self._archive(flag.name)
        moved = {} if archived == was else _moved(was=was, archived=archived)
        return ImportedFlag(outcome=ImportOutcome.UPDATED, changes=changes | moved)

    def _archive(self, name: str) -> None:
        archive_flag(self.session, name, by=self.by, now=self.now, reason=self.reason)


def _moved(*, was: bool, archived: bool) -> dict[str, Change]:
    return {"archived": Change(was, archived)}
