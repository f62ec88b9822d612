"""Reads rollouts: which are under way, what their guards see, and how they tripped last."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import and_, func, or_, select

from webapp.db import DbSession
from webapp.flags import rollout as deciding
from webapp.flags.documents import plain
from webapp.flags.harm import (
    Figures,
    figures_from,
    figures_in_words,
    guard_in_words,
    threshold_of,
)
from webapp.flags.models import MOVING, FeatureFlag, FeatureFlagGuard, rollout_of
from webapp.flags.rollout import Rollout
from webapp.flags.values import STOPPED, GuardState, RolloutGuard, RolloutState

#: So many are shown where all flags are looked at.
MOST_SHOWN: Final = 8
_UNDER_WAY: Final = sorted(STOPPED | {RolloutState.RUNNING})
# First what asks for somebody.
_ORDER: Final = (
    RolloutState.ROLLED_BACK,
    RolloutState.HALTED,
    RolloutState.PAUSED,
    RolloutState.RUNNING,
    RolloutState.COMPLETED,
    RolloutState.NONE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardView:
    """One guard: when it trips, what it sees, and the evidence with which it tripped last.

    ``figures`` is None where nothing was measured since it began.
    """

    guard: RolloutGuard
    when: str
    state: GuardState
    threshold: float
    figures: Figures | None
    seen: str
    since: datetime | None
    checked_at: datetime | None
    tripped_at: datetime | None
    trip: Mapping[str, Any] | None


def guards_of(session: DbSession, flag: FeatureFlag, *, alpha: float) -> list[GuardView]:
    """Return the guards of a flag in their order: one statement, none where it has none."""
    guards = flag.own_guards()
    if not guards:
        return []
    wanted = select(FeatureFlagGuard).where(FeatureFlagGuard.flag == flag.name)
    stored = {row.name: row for row in session.scalars(wanted)}
    idle = not flag.rollout().partial or flag.archived_at is not None
    return [_guard_view(guard, stored.get(guard.name), idle=idle, alpha=alpha) for guard in guards]


def _guard_view(
    guard: RolloutGuard, row: FeatureFlagGuard | None, *, idle: bool, alpha: float
) -> GuardView:
    same = row is not None and row.definition == plain(guard)
    watches = row is not None and same and row.since is not None and not idle
    figures = figures_from(row.figures) if row is not None and watches and row.figures else None
    if idle:
        state = GuardState.IDLE
    else:
        state = GuardState(row.state) if row is not None and figures else GuardState.COLLECTING
    return GuardView(
        guard=guard,
        when=guard_in_words(guard),
        state=state,
        threshold=threshold_of(guard, alpha=alpha),
        figures=figures,
        seen=figures_in_words(guard, figures, alpha=alpha) if figures else "",
        since=row.since if row is not None and watches else None,
        checked_at=row.checked_at if row is not None and watches else None,
        tripped_at=row.tripped_at if row is not None else None,
        trip=row.trip if row is not None else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutView:
    """A rollout that is under way; ``trip`` is the evidence with which a guard stopped it."""

    flag: str
    rollout: Rollout
    by: str | None
    reason: str | None
    guards: int
    guard_state: GuardState
    trip: str

    @property
    def step(self) -> int:
        """Return how many steps are taken."""
        present = self.rollout.present
        return 0 if present is None else present + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollouts:
    """Those that ask for somebody first, as far as they are shown, and how many there are."""

    shown: Sequence[RolloutView]
    total: int


def rollouts_under_way(session: DbSession) -> Rollouts:
    """Return the flags whose plan is not over, or that guards watch or have stopped: one statement.

    There are flags by the hundred, so their order is settled here in memory.
    """
    guarded = and_(
        FeatureFlag.enabled,
        FeatureFlag.percentage > deciding.NOBODY,
        FeatureFlag.percentage < deciding.EVERYBODY,
        func.json_array_length(FeatureFlag.guards) > 0,
    )
    rows = session.execute(
        select(
            *MOVING,
            FeatureFlag.rollout_by,
            FeatureFlag.rollout_reason,
            func.json_array_length(FeatureFlag.guards).label("guards"),
            FeatureFlagGuard.state,
            FeatureFlagGuard.tripped_at,
            FeatureFlagGuard.trip,
        )
        .outerjoin(FeatureFlagGuard, FeatureFlagGuard.flag == FeatureFlag.name)
        .where(
            FeatureFlag.archived_at.is_(None),
            or_(FeatureFlag.rollout_state.in_(_UNDER_WAY), guarded),
        )
        .order_by(FeatureFlag.name, FeatureFlagGuard.name)
    ).all()
    by_flag: dict[str, list[Any]] = {}
    for row in rows:
        by_flag.setdefault(row.name, []).append(row)
    views = sorted(map(_rollout_view, by_flag.values()), key=_place)
    return Rollouts(shown=views[:MOST_SHOWN], total=len(views))


def _rollout_view(rows: Sequence[Any]) -> RolloutView:
    flag, rollout = rows[0], rollout_of(rows[0])
    stopped = rollout.state in {RolloutState.HALTED, RolloutState.ROLLED_BACK}
    trips = [row.trip["text"] for row in rows if row.trip and row.tripped_at == rollout.since]
    return RolloutView(
        flag=flag.name,
        rollout=rollout,
        by=flag.rollout_by,
        reason=flag.rollout_reason,
        guards=int(flag.guards),
        guard_state=_worst([row.state for row in rows if row.state], idle=not rollout.partial),
        trip="; ".join(trips) if stopped else "",
    )


def _worst(states: Sequence[str], *, idle: bool) -> GuardState:
    """Return one word for several guards: what asks for somebody first."""
    if idle:
        return GuardState.IDLE
    order = (GuardState.HARM, GuardState.COLLECTING, GuardState.CALM)
    return next((state for state in order if state in states), GuardState.COLLECTING)


def _place(view: RolloutView) -> tuple[int, float, str]:
    step = view.rollout.next_step
    return _ORDER.index(view.rollout.state), step.at.timestamp() if step else 0.0, view.flag
