"""Reads flags: one, a filtered list, and the revision.

A deployment has flags by the hundred, so a list is one statement over the few columns that it
shows, and filter, order and page are settled here in memory: the state of a flag depends on the
time, and environments and tags stand in JSON, which SQLite and PostgreSQL index differently.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, ScalarSelect, func, select
from sqlalchemy.orm import load_only

from webapp.db import DbSession
from webapp.errors import NotFound
from webapp.flags.documents import prerequisite_from, rule_from
from webapp.flags.evaluation import state_of
from webapp.flags.models import (
    REVISION_ROW,
    STANDING,
    FeatureFlag,
    FeatureFlagUse,
    FlagRevision,
)
from webapp.flags.rollout import Rollout
from webapp.flags.staleness import FlagAge, Staleness, last_turn, staleness_of
from webapp.flags.values import FlagDefinition, FlagState, Override

PAGE_SIZE: Final = 50
# More flags than anybody has.
MAX_SKIP: Final = 1_000_000
# So many are asked for in one statement.
MOST_NAMES: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagFilters:
    """What narrows a list and how it is ordered; an empty text asks for everything.

    ``state`` is a :class:`FlagState`, ``rollout`` a :class:`RolloutState`.  ``enabled``,
    ``archived`` and ``stale`` are "true" or "false"; archived flags are shown only where ``state``
    or ``archived`` asks for them.
    ``sort`` is a key of ``SORTS``, with a minus for descending.
    """

    q: str = ""
    state: str = ""
    environment: str = ""
    tag: str = ""
    group: str = ""
    enabled: str = ""
    archived: str = ""
    stale: str = ""
    rollout: str = ""
    sort: str = "name"

    @property
    def any(self) -> bool:
        """Tell whether anything is narrowed."""
        return self != FlagFilters(sort=self.sort)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagSummary:
    """One line of a list: a flag without its lists of ids.

    ``raised_to`` is the highest percentage that a rule gives, 0 without rules; ``variants`` is how
    many there are.  ``rollout`` tells how its plan stands.
    """

    name: str
    description: str
    state: FlagState
    rollout: Rollout
    enabled: bool
    percentage: float
    raised_to: float
    variants: int
    environments: tuple[str, ...]
    environment_overrides: dict[str, Override]
    group: str | None
    tags: tuple[str, ...]
    updated_at: datetime
    updated_by: str
    last_evaluated_at: datetime | None
    staleness: Staleness | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagList:
    """One page of a filtered list, and what its filters may ask for."""

    rows: Sequence[FlagSummary]
    total: int
    skip: int
    environments: Sequence[str]
    tags: Sequence[str]
    groups: Sequence[str]


SORTS: Final[dict[str, Callable[[FlagSummary], Any]]] = {
    "name": lambda flag: flag.name,
    "state": lambda flag: flag.state.value,
    "percentage": lambda flag: flag.percentage,
    "updated": lambda flag: flag.updated_at,
}


def get_flag(session: DbSession, name: str) -> FeatureFlag:
    """Return one flag, archived ones too; :class:`NotFound` where there is none."""
    flag = session.scalar(select(FeatureFlag).where(FeatureFlag.name == name))
    if flag is None:
        raise NotFound(f"There is no flag {name!r}.")
    return flag


def list_flags(
    session: DbSession,
    filters: FlagFilters,
    *,
    now: datetime,
    counting: bool = True,
    skip: int = 0,
    limit: int = PAGE_SIZE,
) -> FlagList:
    """Return the flags that fit, in one statement; ties are settled by name.

    Where evaluations are not counted, no flag is stale for want of them.
    """
    known = _summaries(session, now, counting=counting)
    fitting = sorted((flag for flag in known if _fits(flag, filters)), key=SORTS["name"])
    key = SORTS.get(filters.sort.removeprefix("-"), SORTS["name"])
    fitting.sort(key=key, reverse=filters.sort.startswith("-"))
    shown = [flag for flag in known if flag.state is not FlagState.ARCHIVED]
    return FlagList(
        rows=fitting[skip : skip + limit],
        total=len(fitting),
        skip=skip,
        environments=sorted({name for flag in shown for name in _environments(flag)}),
        tags=sorted({tag for flag in shown for tag in flag.tags}),
        groups=sorted({flag.group for flag in shown if flag.group}),
    )


def load_flags(session: DbSession, names: Sequence[str]) -> list[FeatureFlag]:
    """Return whole flags by name, in the order asked for, in one statement."""
    wanted = select(FeatureFlag).where(FeatureFlag.name.in_(names))
    found = {flag.name: flag for flag in session.scalars(wanted)}
    return [found[name] for name in names if name in found]


def rows_by_name(session: DbSession, names: Sequence[str]) -> dict[str, Row[Any]]:
    """Return how flags stand, those that there are: id, version and the columns of STANDING."""
    found: dict[str, Row[Any]] = {}
    for start in range(0, len(names), MOST_NAMES):
        some = FeatureFlag.name.in_(names[start : start + MOST_NAMES])
        wanted = select(FeatureFlag.id, FeatureFlag.version, *STANDING).where(some)
        found |= {row.name: row for row in session.execute(wanted)}
    return found


def all_flags(session: DbSession) -> list[FeatureFlag]:
    """Return every flag, archived ones too, by name: in the same order on every database."""
    return sorted(session.scalars(select(FeatureFlag)), key=lambda flag: flag.name)


def read_revision(session: DbSession) -> int:
    """Return the number that every change raises; 0 where nothing was ever changed."""
    wanted = select(FlagRevision.revision).where(FlagRevision.id == REVISION_ROW)
    return session.scalar(wanted) or 0


def staleness_of_flag(
    session: DbSession,
    flag: FeatureFlag,
    *,
    last_evaluated_at: datetime | None,
    now: datetime,
    counting: bool,
) -> Staleness | None:
    """Say why one flag is stale, in one statement."""
    since = session.scalar(select(_counted_since()))
    state = state_of(flag.definition(), now=now, archived=flag.archived_at is not None)
    age = _age(flag, state, last_evaluated_at, since if counting else None, now)
    return staleness_of(age, now=now)


def _counted_since() -> ScalarSelect[datetime]:
    """When the first evaluation of any flag was counted."""
    return select(func.min(FeatureFlagUse.first_evaluated_at)).scalar_subquery()


def _age(
    flag: FeatureFlag,
    state: FlagState,
    last_evaluated_at: datetime | None,
    counted_since: datetime | None,
    now: datetime,
) -> FlagAge:
    return FlagAge(
        state=state,
        created_at=flag.created_at,
        changed_at=last_turn(flag.updated_at, flag.starts_at, flag.expires_at, now=now),
        last_evaluated_at=last_evaluated_at,
        counted_since=counted_since,
    )


def _summaries(session: DbSession, now: datetime, *, counting: bool) -> list[FlagSummary]:
    wanted = (
        select(
            FeatureFlag,
            _any_in(FeatureFlag.whitelist).label("whitelisted"),
            _any_in(FeatureFlag.blacklist).label("blacklisted"),
            func.json_array_length(FeatureFlag.variants).label("variants"),
            FeatureFlagUse.last_evaluated_at,
            _counted_since().label("counted_since"),
        )
        .outerjoin(FeatureFlagUse, FeatureFlagUse.flag == FeatureFlag.name)
        .options(
            load_only(
                FeatureFlag.name,
                FeatureFlag.description,
                FeatureFlag.enabled,
                FeatureFlag.percentage,
                FeatureFlag.environments,
                FeatureFlag.environment_overrides,
                FeatureFlag.starts_at,
                FeatureFlag.expires_at,
                FeatureFlag.rules,
                FeatureFlag.prerequisites,
                FeatureFlag.group,
                FeatureFlag.tags,
                FeatureFlag.rollout_plan,
                FeatureFlag.rollout_state,
                FeatureFlag.rollout_since,
                FeatureFlag.archived_at,
                FeatureFlag.created_at,
                FeatureFlag.updated_at,
                FeatureFlag.updated_by,
                raiseload=True,
            )
        )
    )
    return [
        _summary(
            row.FeatureFlag,
            now,
            whitelisted=bool(row.whitelisted),
            blacklisted=bool(row.blacklisted),
            variants=int(row.variants),
            last_evaluated_at=row.last_evaluated_at,
            counted_since=row.counted_since if counting else None,
        )
        for row in session.execute(wanted)
    ]


def _any_in(column: Any) -> ColumnElement[bool]:
    """Tell in the database whether a list has items: ten thousand ids need not travel for that."""
    return func.json_array_length(column) > 0


def _summary(  # noqa: PLR0913  # all but two are named at the call
    flag: FeatureFlag,
    now: datetime,
    *,
    whitelisted: bool,
    blacklisted: bool,
    variants: int,
    last_evaluated_at: datetime | None,
    counted_since: datetime | None,
) -> FlagSummary:
    outline = FlagDefinition(
        name=flag.name,
        enabled=flag.enabled,
        percentage=float(flag.percentage),
        # Whether there are any is all that the state asks.
        whitelist=("…",) if whitelisted else (),
        blacklist=("…",) if blacklisted else (),
        environment_overrides=flag.environment_overrides,
        starts_at=flag.starts_at,
        expires_at=flag.expires_at,
        rules=tuple(map(rule_from, flag.rules)),
        prerequisites=tuple(map(prerequisite_from, flag.prerequisites)),
    )
    state = state_of(outline, now=now, archived=flag.archived_at is not None)
    age = _age(flag, state, last_evaluated_at, counted_since, now)
    return FlagSummary(
        name=flag.name,
        description=flag.description,
        state=state,
        rollout=flag.rollout(),
        enabled=flag.enabled,
        percentage=outline.percentage,
        raised_to=max((rule.percentage for rule in outline.rules), default=0.0),
        variants=variants,
        environments=tuple(flag.environments),
        environment_overrides=flag.environment_overrides,
        group=flag.group,
        tags=tuple(flag.tags),
        updated_at=flag.updated_at,
        updated_by=flag.updated_by,
        last_evaluated_at=last_evaluated_at,
        staleness=staleness_of(age, now=now),
    )


def _environments(flag: FlagSummary) -> set[str]:
    return {*flag.environments, *flag.environment_overrides}


def _fits(flag: FlagSummary, filters: FlagFilters) -> bool:
    """Tell whether a flag is asked for; one without environments is for every environment."""
    named = _environments(flag)
    text = filters.q.strip().lower()
    archived = flag.state is FlagState.ARCHIVED
    # Asking for a state asks for its archived flags too, if it is theirs.
    wants_archived = filters.archived or ("" if filters.state else "false")
    return (
        (not filters.state or flag.state.value == filters.state)
        and _is(wants_archived, archived)
        and _is(filters.enabled, flag.enabled)
        and _is(filters.stale, flag.staleness is not None)
        and (not filters.rollout or flag.rollout.state == filters.rollout)
        and (not filters.environment or not flag.environments or filters.environment in named)
        and (not filters.tag or filters.tag in flag.tags)
        and (not filters.group or filters.group == flag.group)
        and (not text or text in flag.name or text in flag.description.lower())
    )


def _is(wanted: str, truth: bool) -> bool:  # noqa: FBT001  # a filter and what it is held against
    return not wanted or wanted == ("true" if truth else "false")
