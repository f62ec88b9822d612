"""Due times become jobs: each once, late ones by the rule, and nothing is ever stuck."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from threading import Barrier
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from tests.schedules.conftest import NIGHTLY, MakeSchedule
from webapp.actors import Actor
from webapp.audit.service import history
from webapp.db import reading, transaction
from webapp.errors import Conflict, Invalid, NotFound
from webapp.jobs.models import Job
from webapp.jobs.values import JobState
from webapp.schedules import firing as module
from webapp.schedules.firing import due_schedules, fire, realign, run_schedule
from webapp.schedules.models import Schedule, ScheduleFiring
from webapp.schedules.service import create_schedule, pause_schedule, remove_schedule

ANNA = Actor("user", "anna")
MINUTE = timedelta(minutes=1)


def beat(session: Session, now: datetime) -> list[ScheduleFiring]:
    """What every consumer does once a second."""
    fired = [fire(session, schedule_id, now=now) for schedule_id in due_schedules(session, now=now)]
    return [item for item in fired if item is not None]


def jobs(session: Session) -> list[Job]:
    return list(session.scalars(select(Job).order_by(Job.id)))


def spoil(session: Session, **values: Any) -> None:
    """Change what stands, as a newer version of the program or another time zone table would."""
    session.execute(update(Schedule).values(**values))
    session.expire_all()


def due_of(schedule: Schedule) -> datetime:
    assert schedule.next_run_at is not None
    return schedule.next_run_at


def test_nothing_fires_before_its_time(make: MakeSchedule, session: Session, now: datetime) -> None:
    schedule = make()
    early = due_of(schedule) - timedelta(seconds=1)
    assert due_schedules(session, now=early) == []
    assert fire(session, schedule.id, now=early) is None


def test_a_due_time_becomes_a_job_once(make: MakeSchedule, session: Session) -> None:
    schedule = make(priority=80)
    due_at = due_of(schedule)
    moment = due_at + timedelta(seconds=0.4)
    (firing,) = beat(session, moment)
    assert beat(session, moment) == []
    assert fire(session, schedule.id, now=moment) is None
    (job,) = jobs(session)
    assert (job.type, job.arguments["value"], job.priority) == ("test_echo", 7, 80)
    assert (job.state, job.created_by) == (JobState.QUEUED, "schedule nightly")
    assert (firing.due_at, firing.fired_at, firing.job_id) == (due_at, moment, job.id)
    assert (firing.outcome, firing.planned, firing.passed) == ("enqueued", True, 0)
    assert (schedule.last_run_at, schedule.next_run_at) == (moment, due_at + timedelta(days=1))
    # A firing is no change that somebody made.
    assert schedule.version == 1


def test_of_two_consumers_one_fires(make: MakeSchedule, session: Session) -> None:
    schedule = make()
    due_at = due_of(schedule)
    assert fire(session, schedule.id, now=due_at) is not None
    # The other has read the schedule before the first moved it on.
    spoil(session, next_run_at=due_at)
    assert fire(session, schedule.id, now=due_at) is None
    assert len(jobs(session)) == 1
    assert due_of(schedule) > due_at


@pytest.mark.parametrize(
    ("catch_up", "outcome", "number"), [("one", "enqueued", 1), ("none", "missed", 0)]
)
def test_what_passed_while_nobody_looked_follows_the_rule(
    make: MakeSchedule, session: Session, catch_up: str, outcome: str, number: int
) -> None:
    schedule = make(catch_up=catch_up)
    first = due_of(schedule)
    late = first + timedelta(days=2, hours=3)
    (firing,) = beat(session, late)
    assert (firing.outcome, firing.passed) == (outcome, 2)
    assert (firing.due_at, firing.fired_at) == (first + timedelta(days=2), late)
    assert len(jobs(session)) == number
    assert schedule.next_run_at == first + timedelta(days=3)
    assert beat(session, late) == []


def test_while_a_job_is_unfinished_the_next_is_skipped(
    make: MakeSchedule, session: Session
) -> None:
    schedule = make(cron="* * * * *", overlap="skip")
    due_at = due_of(schedule)
    (first,) = beat(session, due_at)
    (second,) = beat(session, due_at + MINUTE)
    assert (second.outcome, second.job_id) == ("skipped", None)
    assert second.note == f"Job {first.job_id} is unfinished."
    assert schedule.last_run_at == due_at
    session.execute(update(Job).values(state=JobState.DEAD))
    (third,) = beat(session, due_at + 2 * MINUTE)
    assert third.outcome == "enqueued"
    assert len(jobs(session)) == 2


def test_where_the_rule_is_to_queue_jobs_pile_up(make: MakeSchedule, session: Session) -> None:
    due_at = due_of(make(cron="* * * * *", overlap="queue"))
    outcomes = [beat(session, due_at + number * MINUTE)[0].outcome for number in range(3)]
    assert outcomes == ["enqueued"] * 3
    assert len(jobs(session)) == 3


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"type": "gone"}, "There is no job type 'gone'"),
        ({"arguments": {"value": "x"}}, "value"),
    ],
)
def test_a_schedule_that_no_longer_fits_says_so_and_goes_on(
    make: MakeSchedule, session: Session, values: dict[str, Any], words: str
) -> None:
    schedule = make()
    due_at = due_of(schedule)
    spoil(session, **values)
    (firing,) = beat(session, due_at)
    assert (firing.outcome, firing.job_id) == ("refused", None)
    assert words in str(firing.note)
    assert schedule.next_run_at == due_at + timedelta(days=1)
    assert schedule.last_run_at is None


def test_a_check_that_breaks_is_told_as_well(
    make: MakeSchedule, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = make()

    def broken(*args: object, **kwargs: object) -> None:
        raise RuntimeError("a\0b" * 500)

    monkeypatch.setattr(module, "enqueue", broken)
    (firing,) = beat(session, due_of(schedule))
    assert firing.outcome == "refused"
    assert str(firing.note).startswith("RuntimeError: a\\0b")


@pytest.mark.parametrize("values", [{"timezone": "Mars/Base"}, {"cron": "x"}])
def test_one_whose_times_cannot_be_reckoned_rests(
    make: MakeSchedule, session: Session, values: dict[str, Any]
) -> None:
    schedule = make()
    due_at = due_of(schedule)
    spoil(session, **values)
    (firing,) = beat(session, due_at)
    assert firing.outcome == "refused"
    assert schedule.next_run_at is None
    assert beat(session, due_at + timedelta(days=1)) == []


def test_a_paused_schedule_does_not_fire(
    make: MakeSchedule, session: Session, now: datetime
) -> None:
    schedule = make()
    due_at = due_of(schedule)
    pause_schedule(session, "nightly", by=ANNA, now=now, reason="Calm")
    assert beat(session, due_at) == []
    assert fire(session, schedule.id, now=due_at) is None


def test_one_that_is_removed_takes_its_firings_along_and_leaves_its_jobs(
    make: MakeSchedule, session: Session, now: datetime
) -> None:
    schedule = make()
    beat(session, due_of(schedule))
    remove_schedule(session, "nightly", by=ANNA, now=now, reason="Done with")
    assert fire(session, 1, now=now) is None
    assert session.scalars(select(ScheduleFiring)).all() == []
    assert len(jobs(session)) == 1


def test_a_clock_that_jumps_ahead_and_back_fires_nothing_twice_and_stops_nothing(
    make: MakeSchedule, session: Session
) -> None:
    schedule = make(cron="*/10 * * * *", overlap="queue")
    start = due_of(schedule)
    beat(session, start)
    ahead = start + timedelta(hours=1)
    (jumped,) = beat(session, ahead)
    assert (jumped.due_at, jumped.passed) == (ahead, 5)
    # The clock goes back: without this it would be silent for an hour.
    back = start + timedelta(seconds=30)
    assert realign(session, now=back) == 1
    assert realign(session, now=back) == 0
    fired = [
        item.due_at
        for number in range(1, 9)
        for item in beat(session, start + number * timedelta(minutes=10))
    ]
    # Each of the hour once, but the one that fired already.
    minutes = [int((due_at - start).total_seconds() / 60) for due_at in fired]
    assert minutes == [10, 20, 30, 40, 50, 70, 80]
    assert len(jobs(session)) == 2 + len(fired)


def test_a_clock_that_was_not_moved_leaves_all_as_it_is(
    make: MakeSchedule, session: Session, now: datetime
) -> None:
    schedule = make()
    due_at = due_of(schedule)
    make(name="odd")
    spoil(session, cron="x")
    assert realign(session, now=now) == 0
    assert schedule.next_run_at == due_at


def test_an_operator_runs_a_schedule_now(
    make: MakeSchedule, session: Session, now: datetime
) -> None:
    schedule = make()
    due_at = due_of(schedule)
    pause_schedule(session, "nightly", by=ANNA, now=now, reason="Calm")
    spoil(session, enabled=True, next_run_at=due_at)
    firing = run_schedule(session, "nightly", by=ANNA, now=now)
    (job,) = jobs(session)
    assert (firing.job_id, firing.planned, firing.outcome) == (job.id, False, "enqueued")
    assert (schedule.last_run_at, schedule.next_run_at) == (now, due_at)
    assert history(session, "schedule", "nightly")[0].action == "schedule.ran"
    with pytest.raises(Conflict, match="unfinished"):
        run_schedule(session, "nightly", by=ANNA, now=now + MINUTE)


def test_running_now_says_what_stands_in_the_way(
    make: MakeSchedule, session: Session, now: datetime
) -> None:
    make(overlap="queue")
    run_schedule(session, "nightly", by=ANNA, now=now)
    with pytest.raises(Conflict, match="this very moment"):
        run_schedule(session, "nightly", by=ANNA, now=now)
    spoil(session, arguments={"value": "x"})
    with pytest.raises(Invalid):
        run_schedule(session, "nightly", by=ANNA, now=now + MINUTE)
    spoil(session, type="gone")
    with pytest.raises(NotFound):
        run_schedule(session, "nightly", by=ANNA, now=now + MINUTE)


def test_old_firings_are_forgotten(
    make: MakeSchedule, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEPT", 3)
    due_at = due_of(make(cron="* * * * *", overlap="queue"))
    other = make(name="other", cron="* * * * *", overlap="queue")
    for number in range(5):
        beat(session, due_at + number * MINUTE)
    kept = select(ScheduleFiring.due_at).where(ScheduleFiring.schedule_id == other.id)
    expected = [due_at + number * MINUTE for number in (2, 3, 4)]
    assert session.scalars(kept.order_by(ScheduleFiring.id)).all() == expected


def test_consumers_that_beat_at_the_same_moment_fire_once(app: Flask, now: datetime) -> None:
    draft = replace(NIGHTLY, overlap="queue", cron="* * * * *")
    with app.app_context(), transaction() as session:
        schedule = create_schedule(session, draft, by=ANNA, now=now, reason="Needed")
    together = Barrier(4)

    def consumer(number: int) -> int:
        won = 0
        for minute in range(1, 6):
            together.wait()
            with app.app_context(), transaction() as session:
                won += fire(session, schedule.id, now=now + minute * MINUTE) is not None
        return won

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(consumer, range(4))) == 5
    with app.app_context(), reading() as session:
        assert len(jobs(session)) == 5
