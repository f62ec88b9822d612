"""Reads what flags have to do with each other: segments, groups, prerequisites, and who uses them.

Rules and prerequisites stand in JSON, and a deployment has flags by the hundred: they are looked
through here, in memory.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Final, NamedTuple, TypeVar

from sqlalchemy import Select, select

from webapp.db import DbSession
from webapp.errors import NotFound
from webapp.flags.evaluation import state_of
from webapp.flags.explanation import Known
from webapp.flags.models import (
    DECIDING,
    FeatureFlag,
    FlagGroup,
    FlagSegment,
    definition_of,
)
from webapp.flags.validation import References
from webapp.flags.values import FlagDefinition, FlagDraft, FlagState, Segments

Shared = TypeVar("Shared", FlagSegment, FlagGroup)

_NEEDS: Final = select(FeatureFlag.name, FeatureFlag.prerequisites)


class Definitions(NamedTuple):
    """All that decides: the flags in use, and the segments that their rules name."""

    flags: Sequence[FlagDefinition]
    segments: Segments


@dataclass(frozen=True, slots=True)
class SegmentUse:
    """A segment, and the flags whose rules name it; archived ones may be restored, and count."""

    segment: FlagSegment
    flags: Sequence[str]


@dataclass(frozen=True, slots=True)
class GroupUse:
    """A group, and the flags in it; archived ones may be restored, and count."""

    group: FlagGroup
    flags: Sequence[str]


class Needs(NamedTuple):
    """A flag, whether it is archived, and the flags that it builds on."""

    name: str
    archived: bool
    flags: Sequence[str]


def all_needs(session: DbSession) -> list[Needs]:
    """Return what every flag builds on, archived ones too."""
    rows = session.execute(
        select(FeatureFlag.name, FeatureFlag.archived_at, FeatureFlag.prerequisites)
    )
    return [
        Needs(name, archived_at is not None, [item["flag"] for item in items])
        for name, archived_at, items in rows
    ]


def load_definitions(session: DbSession) -> Definitions:
    """Return what decides, of every flag that is not archived, by name: two statements.

    The order is every process's, so that the same flags are the same document.
    """
    live = select(*DECIDING).where(FeatureFlag.archived_at.is_(None)).order_by(FeatureFlag.name)
    flags = [definition_of(row) for row in session.execute(live)]
    return Definitions(flags, load_segments(session))


def load_segments(session: DbSession) -> Segments:
    """Return the conditions of each segment, by name."""
    segments = session.scalars(select(FlagSegment).order_by(FlagSegment.name))
    return {segment.name: segment.as_conditions() for segment in segments}


def known_to(session: DbSession, flag: FeatureFlag | None) -> Known:
    """Return what an explanation of this flag needs beside it; nothing where it stands alone."""
    if flag is None or not (flag.rules or flag.prerequisites):
        return Known()
    found = load_definitions(session)
    return Known(found.segments, {item.name: item for item in found.flags})


def references(session: DbSession) -> References:
    """Return all that a flag may refer to: three statements."""
    needs = session.execute(_NEEDS)
    return References(
        prerequisites={name: [item["flag"] for item in items] for name, items in needs},
        segments=session.scalars(select(FlagSegment.name)).all(),
        groups=session.scalars(select(FlagGroup.name)).all(),
    )


def references_of(session: DbSession, draft: FlagDraft) -> References:
    """Return what there is of all that a flag refers to, in as many statements as it needs.

    Every flag is looked at only where it builds on others: an import asks this of thousands.
    """
    needs = session.execute(_NEEDS).all() if draft.prerequisites else ()
    named = {name for rule in draft.rules for name in rule.segments}
    segments = select(FlagSegment.name).where(FlagSegment.name.in_(named))
    groups = select(FlagGroup.name).where(FlagGroup.name == draft.group)
    return References(
        prerequisites={name: [item["flag"] for item in items] for name, items in needs},
        segments=session.scalars(segments).all() if named else (),
        groups=session.scalars(groups).all() if draft.group is not None else (),
    )


def dependents_of(session: DbSession, name: str, *, archived: bool) -> list[str]:
    """Return the flags that build on this one, by name; those in use, or archived ones too."""
    wanted = select(FeatureFlag.name, FeatureFlag.prerequisites)
    if not archived:
        wanted = wanted.where(FeatureFlag.archived_at.is_(None))
    rows = session.execute(wanted)
    return sorted(flag for flag, items in rows if any(item["flag"] == name for item in items))


def states_of(session: DbSession, names: Sequence[str], *, now: datetime) -> dict[str, FlagState]:
    """Return how each of these flags stands, those that there are, in one statement at most."""
    if not names:
        return {}
    found = session.scalars(select(FeatureFlag).where(FeatureFlag.name.in_(names)))
    return {
        flag.name: state_of(flag.definition(), now=now, archived=flag.archived_at is not None)
        for flag in found
    }


def get_segment(session: DbSession, name: str) -> FlagSegment:
    """Return one segment; :class:`NotFound` where there is none."""
    segment = session.get(FlagSegment, name)
    if segment is None:
        raise NotFound(f"There is no segment {name!r}.")
    return segment


def get_group(session: DbSession, name: str) -> FlagGroup:
    """Return one group; :class:`NotFound` where there is none."""
    group = session.get(FlagGroup, name)
    if group is None:
        raise NotFound(f"There is no group {name!r}.")
    return group


def all_segments(session: DbSession) -> Sequence[FlagSegment]:
    """Return every segment as it is stored now."""
    return session.scalars(_afresh(select(FlagSegment))).all()


def all_groups(session: DbSession) -> Sequence[FlagGroup]:
    """Return every group as it is stored now."""
    return session.scalars(_afresh(select(FlagGroup))).all()


def _afresh(wanted: Select[tuple[Shared]]) -> Select[tuple[Shared]]:
    return wanted.execution_options(populate_existing=True)


def list_segments(session: DbSession) -> list[SegmentUse]:
    """Return every segment by name, with the flags that use it: two statements."""
    rules = session.execute(select(FeatureFlag.name, FeatureFlag.rules)).all()
    users: dict[str, set[str]] = defaultdict(set)
    for flag, items in rules:
        for name in chain.from_iterable(item["segments"] for item in items):
            users[name].add(flag)
    segments = sorted(session.scalars(select(FlagSegment)), key=lambda segment: segment.name)
    return [SegmentUse(segment, sorted(users[segment.name])) for segment in segments]


def list_groups(session: DbSession) -> list[GroupUse]:
    """Return every group by name, with its flags: two statements."""
    members: dict[str | None, list[str]] = defaultdict(list)
    for name, group in session.execute(select(FeatureFlag.name, FeatureFlag.group)):
        members[group].append(name)
    groups = sorted(session.scalars(select(FlagGroup)), key=lambda group: group.name)
    return [GroupUse(group, sorted(members[group.name])) for group in groups]


def flags_with_segment(session: DbSession, name: str) -> list[str]:
    """Return the flags whose rules name a segment, archived ones too, by name."""
    rows = session.execute(select(FeatureFlag.name, FeatureFlag.rules))
    return sorted(flag for flag, items in rows if any(name in i["segments"] for i in items))


def flags_in_group(session: DbSession, name: str) -> list[str]:
    """Return the flags of a group, archived ones too, by name."""
    return sorted(session.scalars(select(FeatureFlag.name).where(FeatureFlag.group == name)))
