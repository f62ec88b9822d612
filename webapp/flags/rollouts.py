"""Moves rollouts along their plans: by the beats of all consumers, or by somebody's hand.

Writers of flags come one after another, and each reads the flag as the one before has left it.  So
a step that is due is taken once, however many beat, and none is taken after somebody has paused.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select, update

from webapp.actors import Actor
from webapp.audit.values import Change
from webapp.db import DbSession
from webapp.errors import Conflict
from webapp.flags import rollout as deciding
from webapp.flags.documents import plain
from webapp.flags.lifecycle import rollout_columns, state_change
from webapp.flags.models import FeatureFlag, FeatureFlagGuard
from webapp.flags.rollout import Rollout
from webapp.flags.service import audit_flag, flag_to_change
from webapp.flags.values import GuardState, RolloutState
from webapp.moments import rfc3339
from webapp.reasons import checked_reason
from webapp.versions import write_version

ROLLOUT: Final = Actor("system", "rollout")
BATCH: Final = 100


@dataclass(frozen=True, slots=True)
class Stepped:
    """What a beat did about a flag whose step was due."""

    flag: str
    percentage: float
    state: RolloutState


@dataclass(frozen=True, slots=True)
class Move:
    """What a hand does to a plan.

    ``decide`` says how it stands then, ``action`` is the audit's word for it, and where it ``arms``
    them guards begin anew.
    """

    decide: Callable[..., Rollout]
    action: str
    arms: bool = False


PAUSE: Final = Move(deciding.pause, "flag.rollout_paused")
RESUME: Final = Move(deciding.resume, "flag.rollout_resumed", arms=True)
SKIP: Final = Move(deciding.skip_ahead, "flag.rollout_skipped")
ROLL_BACK: Final = Move(deciding.roll_back, "flag.rollout_rolled_back", arms=True)


def due_rollouts(session: DbSession, *, now: datetime) -> list[str]:
    """Return the flags whose next step has come, those that wait longest first.

    This is what each beat costs while nothing is due: one look into one index.
    """
    due = select(FeatureFlag.name).where(FeatureFlag.rollout_next_at <= now)
    return list(
        session.scalars(due.order_by(FeatureFlag.rollout_next_at, FeatureFlag.id).limit(BATCH))
    )


def take_step(session: DbSession, name: str, *, now: datetime) -> Stepped | None:
    """Take the step of a flag that is due, once; None where another consumer did."""
    flag = flag_to_change(session, name, None, now=now)
    stood = flag.rollout()
    stands = deciding.take_due(stood, now=now)
    if stands is None:
        return None
    if stands.percentage == stood.percentage:
        action, reason = "flag.rollout_paused", "It was switched off when its next step was due."
    else:
        action, reason = "flag.rollout_stepped", _step_in_words(stood)
    move(session, flag, stands, action=action, by=ROLLOUT, now=now, reason=reason)
    return Stepped(name, stands.percentage, stands.state)


def _step_in_words(stood: Rollout) -> str:
    step = stood.next_step
    number = 0 if stood.present is None else stood.present + 1
    due = f", due {rfc3339(step.at, timespec='seconds')}" if step else ""
    return f"Step {number + 1} of {len(stood.plan)}{due}."


def move_by_hand(  # noqa: PLR0913  # all but the first three are named at the call
    session: DbSession,
    name: str,
    how: Move,
    *,
    by: Actor,
    now: datetime,
    reason: str,
    version: int | None = None,
) -> FeatureFlag:
    """Do to a plan what somebody wants; :class:`Conflict` where it does not stand like that."""
    flag = _to_move(session, name, version, now=now)
    stands = how.decide(flag.rollout(), now=now)
    move(session, flag, stands, action=how.action, by=by, now=now, reason=reason)
    if how.arms:
        arm_guards(session, name, now=now)
    return flag


def _to_move(session: DbSession, name: str, version: int | None, *, now: datetime) -> FeatureFlag:
    flag = flag_to_change(session, name, version, now=now)
    if flag.archived_at is not None:
        raise Conflict(f"The flag {name!r} is archived; restore it first.")
    return flag


def move(  # noqa: PLR0913  # all but the first three are named at the call
    session: DbSession,
    flag: FeatureFlag,
    stands: Rollout,
    *,
    action: str,
    by: Actor,
    now: datetime,
    reason: str,
    evidence: list[dict[str, Any]] | None = None,
) -> None:
    """Write how a rollout stands from now on, as a version of its flag, and audit it.

    The caller has read the flag behind the lock that writers of flags wait for.
    """
    reason = checked_reason(reason)
    stood = flag.rollout()
    changes: dict[str, Change] = {}
    if stood.percentage != stands.percentage:
        changes["percentage"] = Change(stood.percentage, stands.percentage)
    if stood.plan != stands.plan:
        changes["rollout_plan"] = Change(plain(stood.plan), plain(stands.plan))
    changes |= state_change(stood, stands)
    if evidence:
        changes["evidence"] = Change(None, evidence)
    values = {"percentage": stands.percentage, "rollout_plan": plain(stands.plan)}
    values |= rollout_columns(stands, by=by, reason=reason)
    write_version(session, flag, values, by=by, now=now)
    audit_flag(session, flag.name, action, by=by, now=now, reason=reason, changes=changes)


def arm_guards(session: DbSession, name: str, *, now: datetime) -> None:
    """Have the guards of a flag forget what they have seen, but for their last trip."""
    session.execute(
        update(FeatureFlagGuard)
        .where(FeatureFlagGuard.flag == name)
        .values(since=now, read_until=now, memory={}, figures={}, state=GuardState.COLLECTING)
        .execution_options(synchronize_session=False)
    )
