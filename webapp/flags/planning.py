"""Decides what an import makes of flags, one after another and in memory.

Nothing is read or written here, so no lock is held meanwhile.  Each flag is held to the rules of
the service and sees those before it as the import leaves them; what follows of it is written by
whoever asked.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from graphlib import CycleError, TopologicalSorter
from types import SimpleNamespace
from typing import Any

from webapp.audit.values import Change
from webapp.errors import Conflict, DomainError, FieldErrors, Invalid
from webapp.flags.lifecycle import (
    Standing,
    Turn,
    archived,
    changed,
    completed,
    differences,
    made,
    with_changes,
)
from webapp.flags.service import (
    draft_of,
    first_columns,
    refuse,
    refuse_dependents,
    refuse_reserved,
    standing_of,
)
from webapp.flags.shared import Trace
from webapp.flags.validation import References, complaints_about, complaints_about_references
from webapp.flags.values import FlagChanges, FlagDraft
from webapp.versions import NextVersion


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
class Imported:
    """What became of one flag, group or segment, and what changed or why it was refused."""

    outcome: ImportOutcome
    changes: Mapping[str, Change] = field(default_factory=dict)
    errors: FieldErrors = field(default_factory=dict)


Results = dict[str, Imported]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What stands before an import: ``flags`` are the rows that it names, ``needs`` is of all.

    ``in_use`` are the flags that are not archived; ``segments`` and ``groups`` are there to be
    referred to.
    """

    flags: Mapping[str, Any]
    needs: Mapping[str, Sequence[str]]
    in_use: Collection[str]
    segments: Collection[str]
    groups: Collection[str]


@dataclass(slots=True, kw_only=True)
class _Planned:
    """A flag as it stands at this point of an import; one that it makes has no ``row``."""

    name: str
    row: Any
    stands: Standing
    values: dict[str, Any]
    turns: int


def note(results: Results, name: str, take: Callable[[], Imported]) -> None:
    """Take something once, and note what became of it."""
    try:
        if name in results:
            raise Invalid.field("name", "Given twice.")
        results[name] = take()
    except (Invalid, Conflict) as error:
        results[name] = refused(error)


def refused(error: DomainError) -> Imported:
    """Return the result of a flag that broke a rule."""
    errors = error.errors if isinstance(error, Invalid) else {}
    return Imported(outcome=ImportOutcome.REFUSED, errors=errors or {"version": [error.detail]})


def counts_of(results: Results) -> dict[str, int]:
    """Return how many came to each outcome."""
    counted = Counter(item.outcome for item in results.values())
    return {outcome.value: counted[outcome] for outcome in ImportOutcome}


class FlagPlan:
    """What an import makes of flags: its results, and all that is to be written of it.

    ``turns`` are what the audit tells, in their order.
    """

    def __init__(self, found: Found, wanted: Sequence[WantedFlag], trace: Trace) -> None:
        self.results: Results = {}
        self.turns: list[tuple[str, Turn]] = []
        self._found = found
        self._trace: Mapping[str, Any] = trace._asdict()
        self._flags: dict[str, _Planned] = {}
        self._needs: dict[str, Sequence[str]] = {}
        self._users: dict[str, set[str]] = defaultdict(set)
        self._in_use = set(found.in_use)
        for name, others in found.needs.items():
            self._connect(name, others)
        for item in _in_order(wanted):
            note(self.results, item.name, partial(self._take, item))
        self._archive_last(item.name for item in wanted if item.name in found.flags)

    def rows(self) -> list[dict[str, Any]]:
        """Return the columns of the flags that are made."""
        first = first_columns(by=self._trace["by"], now=self._trace["now"])
        return [
            {"archived_at": None} | first | flag.values | {"version": flag.turns}
            for flag in self._flags.values()
            if flag.row is None
        ]

    def versions(self) -> list[NextVersion]:
        """Return what becomes of the flags that are changed."""
        return [
            NextVersion(flag.row.id, flag.row.version, flag.row.version + flag.turns, flag.values)
            for flag in self._flags.values()
            if flag.row is not None
        ]

    def _take(self, item: WantedFlag) -> Imported:
        """Make a flag what it is to be."""
        row = self._found.flags.get(item.name)
        return self._create(item) if row is None else self._change(item, row)

    def _create(self, item: WantedFlag) -> Imported:
        draft = completed(FlagDraft(name=item.name, **item.changes.given()))
        refuse_reserved(draft.name)
        self._refuse(draft)
        turn = made(draft, **self._trace)
        flag = self._begin(item.name, None, turn.after)
        self._apply(flag, turn)
        changes = differences(FlagDraft(name=item.name), _as_read(turn.values))
        if item.archived:
            self._archive(flag)
            changes |= _moved(was=False, archived=True)
        return Imported(outcome=ImportOutcome.CREATED, changes=changes)

    def _change(self, item: WantedFlag, row: Any) -> Imported:
        stands = standing_of(row)
        was = stands.archived_at is not None
        wants = was if item.archived is None else item.archived
        draft = with_changes(stands.draft, item.changes)
        # An archived flag cannot be changed: it is brought back for the change.
        restored = archived(stands, None, **self._trace)
        turn = changed(restored.after if restored else stands, draft, **self._trace)
        if turn is None and wants == was:
            return Imported(outcome=ImportOutcome.UNCHANGED)
        flag = self._begin(item.name, row, stands)
        self._apply(flag, restored)
        self._refuse(draft)
        self._apply(flag, turn)
        if was and wants:
            self._archive(flag)
        told = turn.changes if turn else {}
        changes = {field: change for field, change in told.items() if field != "rollout_state"}
        moved = {} if wants == was else _moved(was=was, archived=wants)
        return Imported(outcome=ImportOutcome.UPDATED, changes=changes | moved)

    def _archive_last(self, names: Iterable[str]) -> None:
        """Archive what was in use, each behind those that build on it and all behind the changes.

        So they may let go of each other in the same import, or leave together.
        """
        leaving = {name for name in names if _is_leaving(self.results[name])}
        needs = {name: self._needs[name] for name in sorted(leaving)}
        for name in reversed(list(TopologicalSorter(needs).static_order())):
            if name in leaving:
                done = self.results.pop(name)
                note(self.results, name, partial(self._leave, self._flags[name], done))

    def _leave(self, flag: _Planned, done: Imported) -> Imported:
        self._archive(flag)
        return done

    def _archive(self, flag: _Planned) -> None:
        users = self._users.get(flag.name, set())
        refuse_dependents(flag.name, sorted(users & self._in_use))
        self._apply(flag, archived(flag.stands, self._trace["now"], **self._trace))

    def _refuse(self, draft: FlagDraft) -> None:
        """Raise :class:`Invalid` with all that is wrong with a flag."""
        errors = complaints_about(draft)
        if not errors:
            errors = complaints_about_references(draft, self._references_of(draft))
        refuse(errors)

    def _references_of(self, draft: FlagDraft) -> References:
        """Return what there is of all that a flag refers to."""
        named = {name for rule in draft.rules for name in rule.segments}
        return References(
            prerequisites=self._around(draft) if draft.prerequisites else {},
            segments=named.intersection(self._found.segments),
            groups=self._found.groups,
        )

    def _around(self, draft: FlagDraft) -> dict[str, Sequence[str]]:
        """Return what those build on that decide with a flag: it, those on it, those below them.

        All flags would do as well, and cost as much again for each that is imported.
        """
        builders = _reached({draft.name}, self._users)
        below = _reached(builders | {item.flag for item in draft.prerequisites}, self._needs)
        return {name: self._needs[name] for name in below if name in self._needs}

    def _begin(self, name: str, row: Any, stands: Standing) -> _Planned:
        flag = _Planned(name=name, row=row, stands=stands, values={}, turns=0)
        self._flags[name] = flag
        return flag

    def _apply(self, flag: _Planned, turn: Turn | None) -> None:
        """Let a flag stand as it does after a turn, if it is one."""
        if turn is None:
            return
        flag.stands = turn.after
        flag.values |= turn.values
        flag.turns += 1
        self.turns.append((flag.name, turn))
        self._connect(flag.name, [item.flag for item in turn.after.draft.prerequisites])
        if turn.after.archived_at is None:
            self._in_use.add(flag.name)
        else:
            self._in_use.discard(flag.name)

    def _connect(self, name: str, others: Sequence[str]) -> None:
        for other in self._needs.get(name, ()):
            self._users[other].discard(name)
        for other in others:
            self._users[other].add(name)
        self._needs[name] = others


def _in_order(wanted: Sequence[WantedFlag]) -> list[WantedFlag]:
    """Return flags behind those that they build on; of a circle the rules complain."""
    needs: dict[str, list[str]] = {}
    for item in wanted:
        given = item.changes.given().get("prerequisites", ())
        needs[item.name] = [prerequisite.flag for prerequisite in given]
    try:
        order = {name: place for place, name in enumerate(TopologicalSorter(needs).static_order())}
    except CycleError:
        return list(wanted)
    return sorted(wanted, key=lambda item: order[item.name])


def _reached(names: Iterable[str], ways: Mapping[str, Iterable[str]]) -> set[str]:
    """Return these names, and all to which ways lead from them."""
    reached: set[str] = set()
    ahead = list(names)
    while ahead:
        name = ahead.pop()
        if name not in reached:
            reached.add(name)
            ahead += ways.get(name, ())
    return reached


def _as_read(values: Mapping[str, Any]) -> FlagDraft:
    """Return a new flag as it will be read: its lists anew, its times in UTC."""
    times = {name: _utc(values[name]) for name in ("starts_at", "expires_at")}
    return draft_of(SimpleNamespace(**{**values, **times}))


def _utc(when: datetime | None) -> datetime | None:
    return None if when is None else when.astimezone(UTC)


def _moved(*, was: bool, archived: bool) -> dict[str, Change]:
    return {"archived": Change(was, archived)}


def _is_leaving(taken: Imported) -> bool:
    """Tell whether a flag that was in use is to be archived."""
    moved = taken.changes.get("archived")
    return moved is not None and moved.new is True
