"""Guards on both databases: what each looks at, when it trips, and what follows, once."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from tests.statements import statements
from webapp.actors import Actor
from webapp.alerts.models import AlertReport
from webapp.audit.service import history
from webapp.breakers.models import CircuitBreakerEvent
from webapp.db import transaction
from webapp.errors import Invalid
from webapp.flags import measuring, rollouts
from webapp.flags.guarding import Check, check, is_due
from webapp.flags.measuring import measure
from webapp.flags.models import FeatureFlag, FeatureFlagError, FeatureFlagGuard
from webapp.flags.progress import guards_of, rollouts_under_way
from webapp.flags.queries import get_flag
from webapp.flags.recording import add_errors
from webapp.flags.service import archive_flag, change_flag, create_flag, purge_flag
from webapp.flags.values import (
    FlagChanges,
    FlagDraft,
    GuardAction,
    GuardMetric,
    GuardState,
    PlanStep,
    RolloutGuard,
    RolloutState,
    Variant,
)
from webapp.jobs.models import Job, JobAttempt, JobMetric

BY = Actor("user", "mira")
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
ALPHA = 0.002
NAME = "ui.beta"

BREAKER = RolloutGuard(name="billing", metric=GuardMetric.BREAKER_OPEN, scope="billing")
FAILURES = RolloutGuard(
    name="failures",
    metric=GuardMetric.JOB_FAILURE_RATE,
    scope="etl",
    threshold=20,
    window=600,
    min_sample=10,
)
COMPARISON = RolloutGuard(
    name="compared", metric=GuardMetric.JOB_COMPARISON, scope="etl", min_sample=5
)
LETTERS = RolloutGuard(name="letters", metric=GuardMetric.DEAD_LETTERS, threshold=3, window=600)
ERRORS = RolloutGuard(name="errors", metric=GuardMetric.ERRORS, threshold=100, window=600)

Make = Callable[..., FeatureFlag]


@pytest.fixture
def make(session: Session, now: datetime) -> Make:
    """Make a flag at 25 % of a plan with these guards, and look at it once."""

    def make(*guards: RolloutGuard, **fields: Any) -> FeatureFlag:
        plan = (
            PlanStep(at=now - DAY, percentage=5),
            PlanStep(at=now - MINUTE, percentage=25),
            PlanStep(at=now + DAY, percentage=100),
        )
        draft = FlagDraft(name=NAME, enabled=True, percentage=25, rollout_plan=plan, guards=guards)
        flag = create_flag(session, replace(draft, **fields), by=BY, now=now, reason="first")
        looked(session, now)
        return flag

    return make


def looked(session: Session, now: datetime) -> Check:
    """Check once, as a beat does; this minute is nobody else's."""
    assert is_due(session, now=now)
    done = check(session, measure(session, now=now), now=now, alpha=ALPHA)
    assert done is not None
    session.flush()
    session.expire_all()
    return done


def minute_of_jobs(
    session: Session, at: datetime, good: int, bad: int, *, dead: int = 0, type_name: str = "etl"
) -> None:
    numbers = dict.fromkeys(("retried", "deferred", "lost", "canceled"), 0)
    session.add(
        JobMetric(
            type=type_name,
            seconds=60,
            at=at.replace(second=0, microsecond=0),
            runs=good + bad,
            succeeded=good,
            failed=bad,
            dead=dead,
            run_buckets=[],
            wait_buckets=[],
            **numbers,
        )
    )
    session.flush()


def attempts(
    session: Session,
    ended_at: datetime,
    answer: object,
    *,
    good: int = 0,
    bad: int = 0,
    fence: int = 1,
    type_name: str = "etl",
    flag: str = NAME,
) -> None:
    """Have so many first attempts of jobs ended to which the flag answered so."""
    for number in range(good + bad):
        job = Job(
            type=type_name,
            queue="default",
            priority=50,
            state="succeeded",
            arguments={},
            run_at=ended_at,
            created_at=ended_at,
            created_by="tests",
        )
        session.add(job)
        session.flush()
        session.add(
            JobAttempt(
                job_id=job.id,
                type=type_name,
                fence=fence,
                started_at=ended_at,
                ended_at=ended_at,
                outcome="succeeded" if number < good else "failed",
                worker="w",
                flags_seen=None if answer is None else {flag: answer, "other": "on"},
            )
        )
    session.flush()


def opened(session: Session, at: datetime, *, kind: str = "transition") -> None:
    session.add(
        CircuitBreakerEvent(
            name="billing",
            at=at,
            kind=kind,
            old_state="closed",
            new_state="open",
            error="https://me:secret@billing.example refused",
            actor="switchyard",
        )
    )
    session.flush()


def row(session: Session, guard: RolloutGuard) -> FeatureFlagGuard:
    found = session.get(FeatureFlagGuard, (NAME, guard.name))
    assert found is not None
    return found


def test_a_breaker_that_opens_sets_the_rollout_back(
    session: Session, make: Make, now: datetime
) -> None:
    flag = make(BREAKER)
    opened(session, now + 30 * timedelta(seconds=1))
    done = looked(session, now + MINUTE)
    assert [trip.after for trip in done.trips] == [5]
    assert (flag.percentage, flag.rollout_state) == (5, RolloutState.ROLLED_BACK)
    assert (flag.rollout_by, flag.rollout_next_at) == ("guard", None)


@pytest.mark.parametrize(
    ("seconds", "kind"), [(-30, "transition"), (30, "force")], ids=["before", "forced"]
)
def test_a_breaker_that_opened_before_or_by_hand_is_no_sign(
    session: Session, make: Make, now: datetime, seconds: int, kind: str
) -> None:
    flag = make(BREAKER)
    opened(session, now + timedelta(seconds=seconds), kind=kind)
    assert looked(session, now + MINUTE).trips == []
    assert flag.percentage == 25


def test_what_a_breaker_was_opened_by_is_told_without_its_secrets(
    session: Session, make: Make, now: datetime
) -> None:
    make(BREAKER)
    opened(session, now + timedelta(seconds=1))
    (trip,) = looked(session, now + MINUTE).trips
    assert "billing.example" in trip.reason
    assert "secret" not in trip.reason


@pytest.mark.parametrize(
    ("good", "bad", "state"),
    [
        (9, 0, GuardState.COLLECTING),
        (0, 9, GuardState.COLLECTING),
        (8, 2, GuardState.CALM),
        (79, 21, GuardState.HARM),
    ],
)
def test_a_failure_rate_trips_above_its_threshold_and_not_for_a_few(
    session: Session, make: Make, now: datetime, good: int, bad: int, state: str
) -> None:
    flag = make(FAILURES)
    minute_of_jobs(session, now, good, bad)
    minute_of_jobs(session, now, 0, 500, type_name="other")
    done = looked(session, now + MINUTE)
    assert flag.percentage == (5 if state == GuardState.HARM else 25)
    if state != GuardState.HARM:
        assert (done.trips, row(session, FAILURES).state) == ([], state)


def test_what_failed_before_the_rollout_or_its_window_does_not_count(
    session: Session, make: Make, now: datetime
) -> None:
    minute_of_jobs(session, now - MINUTE, 0, 100)
    flag = make(FAILURES)
    minute_of_jobs(session, now, 0, 100)
    assert looked(session, now + timedelta(minutes=30)).trips == []
    assert flag.percentage == 25


def test_dead_letters_trip_when_more_die_than_may(
    session: Session, make: Make, now: datetime
) -> None:
    one = replace(LETTERS, name="of etl", scope="etl", action=GuardAction.HALT)
    flag = make(LETTERS, one)
    minute_of_jobs(session, now, 0, 3, dead=3)
    assert looked(session, now + MINUTE).trips == []
    minute_of_jobs(session, now + MINUTE, 0, 1, dead=1, type_name="other")
    (trip,) = looked(session, now + 2 * MINUTE).trips
    assert (trip.guards, flag.percentage) == (["letters"], 5)


def test_errors_that_programs_report_trip_beyond_their_number(
    session: Session, make: Make, now: datetime
) -> None:
    flag = make(ERRORS)
    add_errors(session, NAME, 60, now=now)
    add_errors(session, NAME, 40, now=now)
    add_errors(session, "another", 1000, now=now)
    assert looked(session, now + MINUTE).trips == []
    add_errors(session, NAME, 1, now=now + MINUTE)
    looked(session, now + 2 * MINUTE)
    assert flag.percentage == 5
    looked(session, now + 2 * DAY)
    assert session.scalars(select(FeatureFlagError)).all() == []


def test_a_comparison_takes_each_job_once_by_its_first_attempt(
    session: Session, make: Make, now: datetime
) -> None:
    make(COMPARISON)
    at = now + timedelta(seconds=10)
    attempts(session, at, "on", good=3, bad=1)
    attempts(session, at, "blue", good=1)
    attempts(session, at, "off", good=7, bad=1)
    attempts(session, at, "on", bad=5, fence=2)
    attempts(session, at, ["on", "off"], bad=5)
    attempts(session, at, None, bad=5)
    attempts(session, at, "on", bad=5, type_name="other")
    attempts(session, at, "on", bad=5, flag="another")
    looked(session, now + MINUTE)
    for minute in (2, 3):
        looked(session, now + minute * MINUTE)
    figures = row(session, COMPARISON).figures
    assert (figures["on"], figures["off"]) == ([1, 5], [1, 8])


def test_an_end_that_is_just_being_written_is_read_by_the_next_check(
    session: Session, make: Make, now: datetime
) -> None:
    make(COMPARISON)
    attempts(session, now + timedelta(seconds=57), "on", good=1)
    looked(session, now + MINUTE)
    assert row(session, COMPARISON).figures["on"] == [0, 0]
    looked(session, now + 2 * MINUTE)
    assert row(session, COMPARISON).figures["on"] == [0, 1]


def test_a_comparison_catches_up_after_a_time_without_checks(
    session: Session, make: Make, now: datetime
) -> None:
    make(COMPARISON)
    for minutes in (100, 115, 128):
        attempts(session, now + minutes * MINUTE, "on", good=1)
    seen = []
    for minute in range(4):
        looked(session, now + (130 + minute) * MINUTE)
        seen.append(row(session, COMPARISON).figures["on"])
    # Ten minutes of attempts at a time; the hour before them, in which nothing ended, is no work.
    assert seen == [[0, 1], [0, 2], [0, 3], [0, 3]]


def test_more_failures_with_the_flag_on_trip_and_the_audit_has_the_evidence(
    session: Session, make: Make, now: datetime
) -> None:
    flag = make(COMPARISON)
    attempts(session, now + timedelta(seconds=10), "on", good=2, bad=8)
    attempts(session, now + timedelta(seconds=10), "off", good=38, bad=2)
    (trip,) = looked(session, now + MINUTE).trips
    assert (trip.before, trip.after, flag.percentage) == (25, 5, 5)
    entry = history(session, "flag", NAME, 1)[0]
    assert (entry.actor_kind, entry.actor) == ("system", "guard")
    assert entry.action == "flag.rollout_rolled_back"
    assert "8 of 10 (80.0 %) failed with the flag on, 2 of 40 (5.0 %) with it off" in entry.reason
    changes = {change.field: (change.old, change.new) for change in entry.changes}
    assert changes["percentage"] == (25, 5)
    assert changes["rollout_state"] == ("running", "rolled_back")
    (evidence,) = changes["evidence"][1]
    assert (evidence["on"], evidence["off"], evidence["threshold"]) == ([8, 10], [2, 40], 500)
    assert evidence["value"] > 500
    (told,) = session.scalars(select(AlertReport))
    assert (told.metric, told.label, told.at) == ("rollout_rolled_back", NAME, now + MINUTE)
    assert told.facts["evidence"] == [evidence]
    (view,) = guards_of(session, flag, alpha=ALPHA)
    assert (view.tripped_at, view.trip) == (now + MINUTE, evidence)


def test_a_guard_begins_anew_after_it_tripped_and_may_go_back_further(
    session: Session, make: Make, now: datetime
) -> None:
    flag = make(ERRORS)
    for minute in (0, 1, 2, 3):
        add_errors(session, NAME, 101, now=now + minute * MINUTE)
        looked(session, now + (minute + 1) * MINUTE)
    # 25 to 5, 5 to nobody; then there is nothing to guard.
    assert (flag.percentage, flag.rollout_state) == (0, RolloutState.ROLLED_BACK)
    assert len(session.scalars(select(AlertReport)).all()) == 2
    assert row(session, ERRORS).since is None
    assert guards_of(session, flag, alpha=ALPHA)[0].state is GuardState.IDLE


def test_a_guard_that_halts_keeps_the_share_and_does_so_once(
    session: Session, make: Make, now: datetime
) -> None:
    flag = make(replace(ERRORS, action=GuardAction.HALT))
    for minute in range(4):
        add_errors(session, NAME, 101, now=now + minute * MINUTE)
        looked(session, now + (minute + 1) * MINUTE)
    assert (flag.percentage, flag.rollout_state) == (25, RolloutState.HALTED)
    assert len(session.scalars(select(AlertReport)).all()) == 1
    assert [view.trip for view in rollouts_under_way(session).shown] == [
        "101 errors reported in 10 min, 100 allowed"
    ]


def test_of_two_guards_that_trip_at_once_the_one_that_goes_back_decides(
    session: Session, make: Make, now: datetime
) -> None:
    flag = make(replace(ERRORS, action=GuardAction.HALT), BREAKER)
    add_errors(session, NAME, 101, now=now)
    opened(session, now + timedelta(seconds=1))
    (trip,) = looked(session, now + MINUTE).trips
    assert (set(trip.guards), flag.percentage) == ({"errors", "billing"}, 5)
    assert len(session.scalars(select(AlertReport)).all()) == 1


def test_resuming_has_guards_forget_what_they_have_seen(
    session: Session, make: Make, now: datetime
) -> None:
    flag = make(ERRORS)
    add_errors(session, NAME, 101, now=now)
    looked(session, now + MINUTE)
    later = now + 2 * MINUTE
    rollouts.move_by_hand(session, NAME, rollouts.RESUME, by=BY, now=later, reason="Mended")
    # The step that it was rolled back from is due at once.
    assert rollouts.take_step(session, NAME, now=later) is not None
    assert looked(session, later).trips == []
    assert (flag.percentage, row(session, ERRORS).figures["value"]) == (25, 0)
    assert row(session, ERRORS).tripped_at == now + MINUTE


@pytest.mark.parametrize(
    "fields",
    [{"percentage": 0.0}, {"percentage": 100.0}, {"enabled": False}],
    ids=["nobody", "everybody", "off"],
)
def test_where_a_flag_is_not_on_for_some_there_is_nothing_to_guard(
    session: Session, make: Make, now: datetime, fields: dict[str, Any]
) -> None:
    flag = make(ERRORS, **fields)
    add_errors(session, NAME, 101, now=now)
    done = looked(session, now + MINUTE)
    assert (done.guards, done.trips) == (0, [])
    assert guards_of(session, flag, alpha=ALPHA)[0].state is GuardState.IDLE


def test_a_flag_without_a_plan_goes_back_to_nobody(
    session: Session, make: Make, now: datetime
) -> None:
    flag = make(ERRORS, rollout_plan=())
    add_errors(session, NAME, 101, now=now)
    looked(session, now + MINUTE)
    assert (flag.percentage, flag.rollout_state) == (0, RolloutState.ROLLED_BACK)
    changes = FlagChanges(percentage=10.0)
    change_flag(session, NAME, changes, by=BY, now=now + MINUTE, reason="Again")
    assert flag.rollout_state == RolloutState.NONE


def test_a_guard_that_was_changed_begins_anew(session: Session, make: Make, now: datetime) -> None:
    make(ERRORS)
    add_errors(session, NAME, 90, now=now)
    looked(session, now + MINUTE)
    changed = FlagChanges(guards=(replace(ERRORS, threshold=50),))
    change_flag(session, NAME, changed, by=BY, now=now + MINUTE, reason="Stricter")
    assert looked(session, now + 2 * MINUTE).trips == []
    assert row(session, ERRORS).since == now + MINUTE


def test_a_guard_that_its_flag_no_longer_has_is_forgotten(
    session: Session, make: Make, now: datetime
) -> None:
    make(ERRORS, BREAKER)
    changed = FlagChanges(guards=(BREAKER,))
    change_flag(session, NAME, changed, by=BY, now=now, reason="Less")
    looked(session, now + MINUTE)
    assert session.get(FeatureFlagGuard, (NAME, ERRORS.name)) is None
    archive_flag(session, NAME, by=BY, now=now, reason="Over")
    purge_flag(session, NAME, by=BY, now=now, reason="Over")
    assert session.scalars(select(FeatureFlagGuard)).all() == []


def test_of_many_who_look_one_checks_a_minute(session: Session, make: Make, now: datetime) -> None:
    make(ERRORS)
    add_errors(session, NAME, 101, now=now)
    later = now + MINUTE
    first, second = measure(session, now=later), measure(session, now=later)
    assert check(session, first, now=later, alpha=ALPHA) is not None
    assert check(session, second, now=later, alpha=ALPHA) is None
    assert len(session.scalars(select(AlertReport)).all()) == 1
    assert not is_due(session, now=later + timedelta(seconds=59))
    assert is_due(session, now=later + MINUTE)


def test_a_check_that_took_its_time_counts_no_attempt_twice(
    session: Session, make: Make, now: datetime
) -> None:
    """It measured before another check wrote, and has a later minute than that."""
    make(COMPARISON)
    attempts(session, now + timedelta(seconds=10), "on", good=1)
    slow = measure(session, now=now + MINUTE)
    looked(session, now + MINUTE)
    assert check(session, slow, now=now + 2 * MINUTE, alpha=ALPHA) is not None
    session.expire_all()
    assert row(session, COMPARISON).figures["on"] == [0, 1]
    looked(session, now + 3 * MINUTE)
    assert row(session, COMPARISON).figures["on"] == [0, 1]


def test_a_rollout_that_somebody_moved_meanwhile_is_left_alone(
    session: Session, make: Make, now: datetime
) -> None:
    flag = make(ERRORS)
    add_errors(session, NAME, 101, now=now)
    measured = measure(session, now=now + MINUTE)
    changes = FlagChanges(percentage=10.0)
    change_flag(session, NAME, changes, by=BY, now=now + MINUTE, reason="By hand")
    done = check(session, measured, now=now + MINUTE, alpha=ALPHA)
    assert done is not None
    assert (done.trips, flag.percentage) == ([], 10)


def test_a_check_costs_as_few_statements_for_many_flags_as_for_one(
    app: Flask, now: datetime
) -> None:
    guards = (BREAKER, FAILURES, COMPARISON, LETTERS, ERRORS)

    def cost(numbers: range) -> int:
        with app.app_context():
            with transaction() as session:
                for number in numbers:
                    draft = FlagDraft(
                        name=f"flag.{number}", enabled=True, percentage=5, guards=guards
                    )
                    create_flag(session, draft, by=BY, now=now, reason="r")
            with statements(app) as seen, transaction() as session:
                measure(session, now=now + MINUTE)
        return len(seen)

    assert cost(range(1)) == cost(range(1, 20)) <= 6


@pytest.mark.parametrize(
    ("guard", "message"),
    [
        (replace(ERRORS, name=""), "name of 1 to 64"),
        (replace(ERRORS, scope="etl"), "has no scope"),
        (replace(ERRORS, threshold=None), "threshold"),
        (replace(ERRORS, threshold=-1), "threshold"),
        (replace(ERRORS, threshold=float("nan")), "threshold"),
        (replace(ERRORS, window=59), "window"),
        (replace(ERRORS, window=86_401), "window"),
        (replace(ERRORS, min_sample=5), "no min_sample"),
        (replace(BREAKER, scope=""), "Name the breaker"),
        (replace(BREAKER, scope=" x"), "no breaker"),
        (replace(BREAKER, threshold=1), "no threshold"),
        (replace(FAILURES, threshold=101), "0 to 100"),
        (replace(FAILURES, min_sample=0), "min_sample"),
        (replace(COMPARISON, min_sample=None), "min_sample"),
        (replace(COMPARISON, window=600), "no window"),
    ],
)
def test_a_guard_that_could_not_watch_is_refused(
    session: Session, now: datetime, guard: RolloutGuard, message: str
) -> None:
    draft = FlagDraft(name=NAME, guards=(guard,))
    with pytest.raises(Invalid, match=message) as refusal:
        create_flag(session, draft, by=BY, now=now, reason="r")
    assert set(refusal.value.errors) == {"guards"}


def test_guards_of_one_name_and_a_variant_called_off_are_refused(
    session: Session, now: datetime
) -> None:
    for fields, message in (
        ({"guards": (ERRORS, ERRORS)}, "Given twice"),
        (
            {"guards": (COMPARISON,), "variants": (Variant(name="off", weight=1),)},
            "called off",
        ),
        ({"guards": tuple(replace(ERRORS, name=f"g{n}") for n in range(21))}, "At most 20"),
    ):
        with pytest.raises(Invalid, match=message):
            create_flag(session, FlagDraft(name=NAME, **fields), by=BY, now=now, reason="r")


def test_nothing_is_read_of_attempts_twice_whatever_the_clock_does(
    session: Session, make: Make, now: datetime
) -> None:
    make(COMPARISON)
    attempts(session, now + timedelta(seconds=10), "on", good=1)
    looked(session, now + 10 * MINUTE)
    # The clock was wrong, and goes back.
    looked(session, now + MINUTE)
    looked(session, now + 11 * MINUTE)
    assert row(session, COMPARISON).figures["on"] == [0, 1]
    assert measuring.SETTLED_AFTER < MINUTE
    assert get_flag(session, NAME).percentage == 25
