"""Plans on both databases: steps by the beat, each once; what people do; what the audit says."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy.orm import Session

from tasks.flags import step_rollouts
from webapp.actors import Actor
from webapp.audit.service import history
from webapp.audit.values import Entry
from webapp.db import reading, transaction
from webapp.errors import Conflict, Invalid
from webapp.flags import rollouts
from webapp.flags.models import FeatureFlag
from webapp.flags.planning import WantedFlag
from webapp.flags.queries import get_flag
from webapp.flags.service import (
    archive_flag,
    change_flag,
    create_flag,
    draft_of,
    purge_flag,
    restore_flag,
    switch_flag,
)
from webapp.flags.transfer import Wanted, export_all, import_all
from webapp.flags.values import FlagChanges, FlagDraft, PlanStep, RolloutState

BY = Actor("user", "mira")
DAY = timedelta(days=1)


def plan(now: datetime) -> tuple[PlanStep, ...]:
    return tuple(
        PlanStep(at=now + days * DAY, percentage=share)
        for days, share in ((0, 5.0), (3, 25.0), (7, 100.0))
    )


def draft(now: datetime) -> FlagDraft:
    return FlagDraft(name="ui.beta", enabled=True, rollout_plan=plan(now))


@pytest.fixture
def flag(session: Session, now: datetime) -> FeatureFlag:
    return create_flag(session, draft(now), by=BY, now=now, reason="first")


def last(session: Session) -> Entry:
    return history(session, "flag", "ui.beta", 1)[0]


def changes(entry: Entry) -> dict[str, tuple[object, object]]:
    return {change.field: (change.old, change.new) for change in entry.changes}


def test_a_plan_is_kept_as_it_was_drafted_and_begins(
    session: Session, flag: FeatureFlag, now: datetime
) -> None:
    session.expire(flag)
    stored = get_flag(session, "ui.beta")
    assert draft_of(stored).rollout_plan == plan(now)
    assert (stored.rollout_state, stored.rollout_next_at) == (RolloutState.RUNNING, now)


def test_a_due_step_is_a_version_and_an_entry_of_its_own(
    session: Session, flag: FeatureFlag, now: datetime
) -> None:
    assert rollouts.due_rollouts(session, now=now - timedelta(seconds=1)) == []
    assert rollouts.due_rollouts(session, now=now) == ["ui.beta"]
    stepped = rollouts.take_step(session, "ui.beta", now=now)
    assert stepped is not None
    assert (stepped.percentage, stepped.state) == (5, RolloutState.RUNNING)
    assert rollouts.take_step(session, "ui.beta", now=now) is None
    assert (flag.version, flag.percentage, flag.rollout_next_at) == (2, 5, now + 3 * DAY)
    entry = last(session)
    assert (entry.actor_kind, entry.actor, entry.action) == (
        "system",
        "rollout",
        "flag.rollout_stepped",
    )
    assert entry.reason.startswith("Step 1 of 3")
    assert changes(entry) == {"percentage": (0, 5)}


def test_however_many_look_a_step_is_taken_once(app: Flask, now: datetime) -> None:
    with app.app_context(), transaction() as session:
        create_flag(session, draft(now), by=BY, now=now, reason="first")

    def beat(_: int) -> None:
        with app.app_context():
            step_rollouts(now)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(beat, range(8)))
    with app.app_context(), reading() as session:
        flag = get_flag(session, "ui.beta")
        assert (flag.percentage, flag.version) == (5, 2)
        entries = history(session, "flag", "ui.beta", 10)
    assert [entry.action for entry in entries] == ["flag.rollout_stepped", "flag.created"]


def test_a_plan_runs_to_its_end(session: Session, flag: FeatureFlag, now: datetime) -> None:
    for days in range(9):
        rollouts.take_step(session, "ui.beta", now=now + days * DAY)
    assert (flag.percentage, flag.rollout_state) == (100, RolloutState.COMPLETED)
    assert (flag.rollout_next_at, flag.version) == (None, 4)
    assert changes(last(session))["rollout_state"] == ("running", "completed")


def test_moving_the_share_by_hand_pauses_the_plan(
    session: Session, flag: FeatureFlag, now: datetime
) -> None:
    change_flag(session, "ui.beta", FlagChanges(percentage=30), by=BY, now=now, reason="Faster")
    assert (flag.rollout_state, flag.rollout_by) == (RolloutState.PAUSED, "mira")
    assert (flag.rollout_reason, flag.rollout_next_at) == ("Faster", None)
    assert changes(last(session))["rollout_state"] == ("running", "paused")
    rollouts.move_by_hand(session, "ui.beta", rollouts.RESUME, by=BY, now=now + DAY, reason="Go on")
    # The steps below its share are taken; the day of the pause is put behind.
    assert flag.rollout_next_at == now + 8 * DAY


def test_switching_off_pauses_and_switching_on_does_not_resume(
    session: Session, flag: FeatureFlag, now: datetime
) -> None:
    for enabled in (False, True):
        switch_flag(session, "ui.beta", enabled=enabled, by=BY, now=now, reason="Look")
    assert flag.rollout_state == RolloutState.PAUSED
    assert rollouts.due_rollouts(session, now=now + 30 * DAY) == []


def test_a_flag_that_was_made_switched_off_pauses_when_its_step_is_due(
    session: Session, now: datetime
) -> None:
    made = replace(draft(now), enabled=False)
    flag = create_flag(session, made, by=BY, now=now, reason="first")
    rollouts.take_step(session, "ui.beta", now=now)
    assert (flag.percentage, flag.rollout_state) == (0, RolloutState.PAUSED)
    assert "switched off" in last(session).reason


def test_archiving_pauses_so_that_restoring_moves_nothing(
    session: Session, flag: FeatureFlag, now: datetime
) -> None:
    archive_flag(session, "ui.beta", by=BY, now=now, reason="Rest")
    for how in (rollouts.RESUME, rollouts.ROLL_BACK):
        with pytest.raises(Conflict, match="archived"):
            rollouts.move_by_hand(session, "ui.beta", how, by=BY, now=now, reason="r")
    restore_flag(session, "ui.beta", by=BY, now=now, reason="Back")
    assert flag.rollout_state == RolloutState.PAUSED
    assert rollouts.due_rollouts(session, now=now + 30 * DAY) == []


def test_pause_resume_skip_and_roll_back(
    session: Session, flag: FeatureFlag, now: datetime
) -> None:
    rollouts.take_step(session, "ui.beta", now=now)
    told = []
    for how in (
        rollouts.PAUSE,
        rollouts.RESUME,
        rollouts.SKIP,
        rollouts.ROLL_BACK,
        rollouts.RESUME,
    ):
        rollouts.move_by_hand(session, "ui.beta", how, by=BY, now=now + DAY, reason="Because")
        told.append((last(session).action, float(flag.percentage), flag.rollout_state))
    assert told == [
        ("flag.rollout_paused", 5, "paused"),
        ("flag.rollout_resumed", 5, "running"),
        ("flag.rollout_skipped", 25, "running"),
        ("flag.rollout_rolled_back", 5, "rolled_back"),
        ("flag.rollout_resumed", 5, "running"),
    ]
    assert flag.rollout_next_at == now + DAY


def test_what_is_done_needs_a_reason_and_the_version_that_was_seen(
    session: Session, flag: FeatureFlag, now: datetime
) -> None:
    with pytest.raises(Invalid) as refusal:
        rollouts.move_by_hand(session, "ui.beta", rollouts.PAUSE, by=BY, now=now, reason=" ")
    assert set(refusal.value.errors) == {"reason"}
    with pytest.raises(Conflict, match="version"):
        rollouts.move_by_hand(
            session, "ui.beta", rollouts.PAUSE, by=BY, now=now, reason="r", version=9
        )
    assert flag.rollout_state == RolloutState.RUNNING


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([(0, 5), (0, 10)], "later"),
        ([(0, 5), (1, 5)], "above the 5 %"),
        ([(0, 5), (1, 101)], "from 0 to 100"),
        ([(0, 0.001)], "two decimals"),
        ([(0, 0), (1, 5)], "above 0 %"),
        ([(400_000, 5)], "years"),
        ([(number, number + 1) for number in range(21)], "At most 20"),
    ],
)
def test_a_plan_whose_times_or_shares_do_not_rise_is_refused(
    session: Session, now: datetime, steps: list[tuple[int, float]], message: str
) -> None:
    wrong = tuple(PlanStep(at=now + days * DAY, percentage=share) for days, share in steps)
    with pytest.raises(Invalid, match=message) as refusal:
        create_flag(
            session,
            replace(draft(now), rollout_plan=wrong),
            by=BY,
            now=now,
            reason="r",
        )
    assert set(refusal.value.errors) == {"rollout_plan"}


def test_plans_and_guards_are_carried_by_exports(
    session: Session, flag: FeatureFlag, now: datetime
) -> None:
    exported = {item.name: item for item, _ in export_all(session).flags}["ui.beta"]
    archive_flag(session, "ui.beta", by=BY, now=now, reason="r")
    purge_flag(session, "ui.beta", by=BY, now=now, reason="r")
    wanted = WantedFlag(
        name="ui.beta",
        changes=FlagChanges(
            enabled=True, rollout_plan=exported.rollout_plan, guards=exported.guards
        ),
    )
    done = import_all(session, Wanted(flags=[wanted]), by=BY, now=now, reason="r")
    assert done.flags["ui.beta"].outcome == "created"
    assert draft_of(get_flag(session, "ui.beta")) == exported
    again = import_all(session, Wanted(flags=[wanted]), by=BY, now=now, reason="r")
    assert again.flags["ui.beta"].outcome == "unchanged"
