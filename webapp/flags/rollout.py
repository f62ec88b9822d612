"""When the share of a flag moves by its plan, and what becomes of the plan then.  Pure.

Percentages of a plan rise, so where a flag stands in it is told by its percentage alone: steps at
or below it are taken, the first one above it comes next.  Nothing here moves a flag by more than
one step at a time.

A step is looked at for at least as long as the plan says: whenever one comes late, since the plan
was stopped or nobody was there to take it, the steps behind it move back by as much.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from webapp.errors import Conflict
from webapp.flags.values import STOPPED, PlanStep, RolloutState

#: A step that is taken so late is still on time.
ON_TIME: Final = timedelta(seconds=60)
NOBODY: Final = 0.0
EVERYBODY: Final = 100.0

Plan = tuple[PlanStep, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """How the rollout of a flag stands; ``since`` is when it came into its state."""

    plan: Plan
    percentage: float
    enabled: bool
    state: RolloutState
    since: datetime | None = None

    @property
    def next_step(self) -> PlanStep | None:
        """Return the step that comes next, whenever that is."""
        return next((step for step in self.plan if step.percentage > self.percentage), None)

    @property
    def present(self) -> int | None:
        """Return the place of the newest step that is taken, None before the first."""
        taken = [at for at, step in enumerate(self.plan) if step.percentage <= self.percentage]
        return taken[-1] if taken else None

    @property
    def next_at(self) -> datetime | None:
        """Return when the next step is due, None where none will be taken by itself."""
        step = self.next_step
        return step.at if step is not None and self.state is RolloutState.RUNNING else None

    @property
    def left(self) -> timedelta:
        """Return the time that the next step of a plan that was stopped still had."""
        step = self.next_step
        if step is None or self.since is None:
            return timedelta()
        return max(timedelta(), step.at - self.since)

    @property
    def partial(self) -> bool:
        """Tell whether the flag is on for some by its share, and not for all."""
        return self.enabled and NOBODY < self.percentage < EVERYBODY

    @property
    def percentage_before(self) -> float:
        """Return the share of the step before the present one: what a roll-back goes to."""
        below = [step.percentage for step in self.plan if step.percentage < self.percentage]
        return max(below, default=NOBODY)


def started(plan: Plan, percentage: float) -> RolloutState:
    """Return the state in which a plan begins."""
    if not plan:
        return RolloutState.NONE
    return RolloutState.RUNNING if plan[-1].percentage > percentage else RolloutState.COMPLETED


def take_due(rollout: Rollout, *, now: datetime) -> Rollout | None:
    """Take the step that is due; None where none is.

    A flag that is switched off is not moved, or it would come back to more than it had: its plan
    pauses.
    """
    if rollout.next_at is None or rollout.next_at > now:
        return None
    if not rollout.enabled:
        return replace(rollout, state=RolloutState.PAUSED, since=now)
    return _taken(rollout, now)


def skip_ahead(rollout: Rollout, *, now: datetime) -> Rollout:
    """Take the next step now; the ones behind it keep their times.

    :class:`Conflict` where the plan is not running.
    """
    if rollout.state is not RolloutState.RUNNING or rollout.next_step is None:
        raise Conflict(f"Its plan is {in_words(rollout.state)}: there is no step to skip to.")
    _refuse_switched_off(rollout)
    return _taken(rollout, now)


def _taken(rollout: Rollout, now: datetime) -> Rollout:
    step = rollout.next_step
    if step is None:
        return rollout
    late = now - step.at
    moved = replace(rollout, percentage=step.percentage)
    if late > ON_TIME:
        moved = replace(moved, plan=_put_off(rollout.plan, step, late))
    elif late < timedelta():
        moved = replace(moved, plan=_brought_forward(rollout.plan, step, now))
    return replace(moved, state=started(moved.plan, moved.percentage), since=now)


def pause(rollout: Rollout, *, now: datetime) -> Rollout:
    """Take no more steps until somebody resumes; :class:`Conflict` where it is not running."""
    if rollout.state is not RolloutState.RUNNING:
        raise Conflict(f"Its plan is {in_words(rollout.state)}: there is nothing to pause.")
    return replace(rollout, state=RolloutState.PAUSED, since=now)


def resume(rollout: Rollout, *, now: datetime) -> Rollout:
    """Go on: the next step comes after the time that it still had when the plan was stopped.

    One that was due by then, or that was rolled back from, is due at once.  :class:`Conflict` where
    nothing was stopped.
    """
    if rollout.state not in STOPPED:
        raise Conflict(f"Its plan is {in_words(rollout.state)}: there is nothing to resume.")
    _refuse_switched_off(rollout)
    plan, step = rollout.plan, rollout.next_step
    if step is not None:
        plan = _put_off(plan, step, now + rollout.left - step.at)
    return replace(rollout, plan=plan, state=started(plan, rollout.percentage), since=now)


def roll_back(rollout: Rollout, *, now: datetime) -> Rollout:
    """Go back to the share of the step before, to nobody where there is none, and stop there.

    :class:`Conflict` where it is on for nobody anyway.
    """
    if rollout.percentage <= NOBODY:
        raise Conflict("It is at 0 %: there is nothing to roll back.")
    back = rollout.percentage_before
    return replace(rollout, percentage=back, state=RolloutState.ROLLED_BACK, since=now)


def halt(rollout: Rollout, *, now: datetime) -> Rollout:
    """Stay at this share until somebody resumes."""
    return replace(rollout, state=RolloutState.HALTED, since=now)


def after_change(before: Rollout, after: Rollout, *, now: datetime) -> Rollout:
    """Decide how a rollout stands after somebody has changed the flag by hand.

    Whoever moves the share, or switches the flag off, takes over: a running plan pauses.  A plan
    that was stopped stays so when it is edited; a new one begins.
    """
    state = _state_after(before, after)
    fresh = state is not before.state or before.plan != after.plan
    return replace(after, state=state, since=now if fresh else before.since)


def _state_after(before: Rollout, after: Rollout) -> RolloutState:
    afresh = started(after.plan, after.percentage)
    if before.plan != after.plan:
        kept = before.plan and afresh is RolloutState.RUNNING and before.state in STOPPED
        return before.state if kept else afresh
    if before.percentage != after.percentage:
        return RolloutState.PAUSED if afresh is RolloutState.RUNNING else afresh
    if before.enabled and not after.enabled and before.state is RolloutState.RUNNING:
        return RolloutState.PAUSED
    return before.state


def _put_off(plan: Plan, first: PlanStep, by: timedelta) -> Plan:
    """Move a step and those behind it; whole seconds will do."""
    seconds = timedelta(seconds=max(0, round(by.total_seconds())))
    return tuple(
        replace(step, at=step.at + seconds) if step.percentage >= first.percentage else step
        for step in plan
    )


def _brought_forward(plan: Plan, early: PlanStep, now: datetime) -> Plan:
    """Let a step stand where it was taken, unless one before it is planned for later."""
    at = now.replace(microsecond=0)
    if any(step.at >= at for step in plan if step.percentage < early.percentage):
        return plan
    return tuple(replace(step, at=at) if step is early else step for step in plan)


def _refuse_switched_off(rollout: Rollout) -> None:
    if not rollout.enabled:
        raise Conflict("It is switched off: switch it on first.")


_WORDS: Final = {
    RolloutState.NONE: "not there",
    RolloutState.ROLLED_BACK: "rolled back",
}


def in_words(state: RolloutState) -> str:
    """Write a state as part of a sentence."""
    return _WORDS.get(state, state.value)


def marks(rollout: Rollout) -> Sequence[str]:
    """Tell of each step how it stands: taken, present, next or ahead."""
    present, following = rollout.present, rollout.next_step
    words = []
    for at, step in enumerate(rollout.plan):
        if present is not None and at <= present:
            words.append("present" if at == present else "taken")
        else:
            words.append("next" if step is following else "ahead")
    return words
