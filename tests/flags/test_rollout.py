"""Plans: which step is taken when, and what stopping, going on and changes by hand make of one."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import NOW
from webapp.errors import Conflict
from webapp.flags.rollout import (
    ON_TIME,
    Rollout,
    after_change,
    halt,
    marks,
    pause,
    resume,
    roll_back,
    skip_ahead,
    started,
    take_due,
)
from webapp.flags.values import PlanStep, RolloutState

DAY = timedelta(days=1)
PLAN = tuple(
    PlanStep(at=NOW + days * DAY, percentage=share)
    for days, share in ((0, 5.0), (3, 25.0), (7, 50.0), (14, 100.0))
)
RUNNING, PAUSED = RolloutState.RUNNING, RolloutState.PAUSED
HALTED, ROLLED_BACK = RolloutState.HALTED, RolloutState.ROLLED_BACK


def rollout(percentage: float = 5.0, state: RolloutState = RUNNING, **fields: object) -> Rollout:
    made = Rollout(plan=PLAN, percentage=percentage, enabled=True, state=state, since=NOW)
    return replace(made, **fields)  # type: ignore[arg-type]


def days_of(found: Rollout) -> list[float]:
    return [(step.at - NOW) / DAY for step in found.plan]


@pytest.mark.parametrize(
    ("percentage", "present", "following", "before"),
    [
        (0, None, 5, 0),
        (3, None, 5, 0),
        (5, 0, 25, 0),
        (24.99, 0, 25, 5),
        (25, 1, 50, 5),
        (99, 2, 100, 50),
        (100, 3, None, 50),
    ],
)
def test_the_percentage_alone_tells_where_a_flag_stands_in_its_plan(
    percentage: float, present: int | None, following: float | None, before: float
) -> None:
    found = rollout(percentage)
    assert found.present == present
    assert (found.next_step and found.next_step.percentage) == following
    assert found.percentage_before == before


def test_steps_are_marked_as_taken_present_next_and_ahead() -> None:
    assert marks(rollout(25)) == ["taken", "present", "next", "ahead"]
    assert marks(rollout(0)) == ["next", "ahead", "ahead", "ahead"]
    assert marks(rollout(100)) == ["taken", "taken", "taken", "present"]


@pytest.mark.parametrize(
    ("plan", "percentage", "state"),
    [
        ((), 25, RolloutState.NONE),
        (PLAN, 0, RUNNING),
        (PLAN, 99.99, RUNNING),
        (PLAN, 100, RolloutState.COMPLETED),
    ],
)
def test_a_plan_begins_by_itself(
    plan: tuple[PlanStep, ...], percentage: float, state: RolloutState
) -> None:
    assert started(plan, percentage) is state


def test_a_step_is_taken_when_it_is_due_and_not_before() -> None:
    due = PLAN[1].at
    assert take_due(rollout(), now=due - timedelta(microseconds=1)) is None
    taken = take_due(rollout(), now=due)
    assert taken is not None
    assert (taken.percentage, taken.state, taken.plan) == (25, RUNNING, PLAN)
    assert taken.next_at == PLAN[2].at
    assert take_due(taken, now=due) is None


def test_the_last_step_completes_the_plan() -> None:
    taken = take_due(rollout(50), now=PLAN[3].at)
    assert taken is not None
    assert (taken.percentage, taken.state, taken.next_at) == (100, RolloutState.COMPLETED, None)


@pytest.mark.parametrize("state", set(RolloutState) - {RUNNING})
def test_no_step_is_taken_by_itself_unless_the_plan_runs(state: RolloutState) -> None:
    assert take_due(rollout(state=state), now=NOW + 30 * DAY) is None


def test_steps_that_passed_while_nobody_looked_are_taken_one_by_one() -> None:
    """After 20 days without a worker the next step is taken, and the rest keep their distance."""
    late = take_due(rollout(), now=NOW + 20 * DAY)
    assert late is not None
    assert late.percentage == 25
    assert days_of(late) == [0, 20, 24, 31]
    assert take_due(late, now=NOW + 20 * DAY) is None


def test_a_step_that_is_a_little_late_moves_nothing() -> None:
    taken = take_due(rollout(), now=PLAN[1].at + ON_TIME)
    assert taken is not None
    assert taken.plan == PLAN


def test_a_flag_that_is_off_is_not_moved_and_its_plan_pauses() -> None:
    found = take_due(rollout(enabled=False), now=NOW + 3 * DAY)
    assert found is not None
    assert (found.percentage, found.state) == (5, PAUSED)


def test_a_pause_stops_the_clock() -> None:
    """Two days into the three of a step it is paused: after the pause one day is left."""
    paused = pause(rollout(), now=NOW + 2 * DAY)
    assert (paused.state, paused.next_at) == (PAUSED, None)
    resumed = resume(paused, now=NOW + 12 * DAY)
    assert (resumed.state, resumed.percentage) == (RUNNING, 5)
    assert days_of(resumed) == [0, 13, 17, 24]


def test_a_step_that_was_due_when_the_plan_was_stopped_is_due_once_it_goes_on() -> None:
    resumed = resume(pause(rollout(), now=NOW + 4 * DAY), now=NOW + 5 * DAY)
    assert days_of(resumed) == [0, 5, 9, 16]
    taken = take_due(resumed, now=NOW + 5 * DAY)
    assert taken is not None
    assert taken.percentage == 25


def test_a_roll_back_goes_to_the_step_before_and_resuming_takes_the_step_again() -> None:
    back = roll_back(rollout(25), now=NOW + 4 * DAY)
    assert (back.percentage, back.state, back.plan) == (5, ROLLED_BACK, PLAN)
    resumed = resume(back, now=NOW + 10 * DAY)
    assert days_of(resumed) == [0, 10, 14, 21]
    assert resumed.next_at == NOW + 10 * DAY


def test_a_roll_back_from_the_first_step_or_without_a_plan_goes_to_nobody() -> None:
    assert roll_back(rollout(5), now=NOW).percentage == 0
    bare = rollout(40, RolloutState.NONE, plan=())
    back = roll_back(bare, now=NOW)
    assert (back.percentage, back.state) == (0, ROLLED_BACK)
    assert resume(back, now=NOW).state is RolloutState.NONE
    with pytest.raises(Conflict, match="0 %"):
        roll_back(back, now=NOW)


def test_a_halt_keeps_the_share_until_somebody_resumes() -> None:
    halted = halt(rollout(25), now=NOW + 4 * DAY)
    assert (halted.percentage, halted.state, halted.next_at) == (25, HALTED, None)
    assert days_of(resume(halted, now=NOW + 5 * DAY)) == [0, 3, 8, 15]


def test_skipping_takes_the_next_step_now_and_the_others_keep_their_times() -> None:
    found = skip_ahead(rollout(), now=NOW + DAY)
    assert found.percentage == 25
    assert days_of(found) == [0, 1, 7, 14]


def test_skipping_an_overdue_step_puts_off_the_others() -> None:
    assert days_of(skip_ahead(rollout(), now=NOW + 5 * DAY)) == [0, 5, 9, 16]


@pytest.mark.parametrize("state", set(RolloutState))
def test_what_does_not_fit_the_state_is_a_conflict_that_says_so(state: RolloutState) -> None:
    found = rollout(state=state)
    for verb, fitting in (
        (pause, {RUNNING}),
        (skip_ahead, {RUNNING}),
        (resume, {PAUSED, HALTED, ROLLED_BACK}),
    ):
        if state in fitting:
            assert verb(found, now=NOW).state is not None
        else:
            with pytest.raises(Conflict, match="Its plan is"):
                verb(found, now=NOW)


def test_a_flag_that_is_off_is_neither_resumed_nor_moved_on() -> None:
    for verb, state in ((resume, PAUSED), (skip_ahead, RUNNING)):
        with pytest.raises(Conflict, match="switched off"):
            verb(rollout(state=state, enabled=False), now=NOW)


NEW = (PlanStep(at=NOW + DAY, percentage=60), PlanStep(at=NOW + 2 * DAY, percentage=90))


@pytest.mark.parametrize(
    ("before", "changed", "state"),
    [
        (rollout(), {"percentage": 30.0}, PAUSED),
        (rollout(), {"percentage": 0.0}, PAUSED),
        (rollout(), {"percentage": 100.0}, RolloutState.COMPLETED),
        (rollout(), {"enabled": False}, PAUSED),
        (rollout(enabled=False), {"enabled": True}, RUNNING),
        (rollout(), {}, RUNNING),
        (rollout(state=PAUSED), {"percentage": 30.0}, PAUSED),
        (rollout(state=HALTED), {"percentage": 30.0}, PAUSED),
        (rollout(state=ROLLED_BACK), {"enabled": False}, ROLLED_BACK),
        (rollout(100, RolloutState.COMPLETED), {"percentage": 50.0}, PAUSED),
        (rollout(), {"plan": NEW}, RUNNING),
        (rollout(), {"plan": NEW, "percentage": 10.0}, RUNNING),
        (rollout(), {"plan": NEW, "percentage": 90.0}, RolloutState.COMPLETED),
        (rollout(), {"plan": ()}, RolloutState.NONE),
        (rollout(state=PAUSED), {"plan": NEW}, PAUSED),
        (rollout(state=HALTED), {"plan": NEW}, HALTED),
        (rollout(state=HALTED, plan=()), {"plan": NEW}, RUNNING),
        (rollout(state=HALTED, plan=()), {"percentage": 30.0}, RolloutState.NONE),
        (rollout(100, RolloutState.COMPLETED), {"plan": NEW}, RolloutState.COMPLETED),
        (rollout(state=RolloutState.NONE, plan=()), {"percentage": 30.0}, RolloutState.NONE),
    ],
)
def test_a_change_by_hand_takes_over(
    before: Rollout, changed: dict[str, object], state: RolloutState
) -> None:
    later = NOW + DAY
    after = after_change(before, replace(before, **changed), now=later)  # type: ignore[arg-type]
    assert after.state is state
    fresh = state is not before.state or "plan" in changed
    assert after.since == (later if fresh else NOW)


plans = st.lists(
    st.tuples(st.integers(1, 500_000), st.integers(1, 10_000)),
    min_size=1,
    max_size=20,
    unique_by=(lambda item: item[0], lambda item: item[1]),
).map(
    lambda items: tuple(
        PlanStep(at=NOW + timedelta(seconds=seconds), percentage=share / 100)
        for seconds, share in zip(
            sorted(item[0] for item in items), sorted(item[1] for item in items), strict=True
        )
    )
)
verbs = st.lists(
    st.tuples(
        st.sampled_from(["due", "pause", "resume", "skip", "back", "halt"]),
        st.integers(0, 200_000),
    ),
    max_size=30,
)


@given(plans, verbs)
def test_whatever_is_done_a_plan_stays_one(
    plan: tuple[PlanStep, ...], done: list[tuple[str, int]]
) -> None:
    """Times and shares rise, nothing but a roll-back lowers, and never is a step passed over."""
    found = Rollout(plan=plan, percentage=0.0, enabled=True, state=started(plan, 0.0), since=NOW)
    acts = {"pause": pause, "resume": resume, "skip": skip_ahead, "back": roll_back, "halt": halt}
    moment: datetime = NOW
    for verb, seconds in done:
        moment += timedelta(seconds=seconds)
        before = found
        try:
            act = take_due if verb == "due" else acts[verb]
            found = act(found, now=moment) or found
        except Conflict:
            assert found is before
        assert [step.percentage for step in found.plan] == [step.percentage for step in plan]
        times = [step.at for step in found.plan]
        assert times == sorted(set(times))
        at = -1 if before.present is None else before.present
        now_at = -1 if found.present is None else found.present
        assert now_at - at in ({-1, 0} if verb == "back" else {0, 1})
        if found.percentage > before.percentage:
            assert before.state is RUNNING
        assert (found.next_at is None) == (found.state is not RUNNING)
