"""Attempts counted by minute and hour: exact, once, and the same however often it is done."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as limits
from hypothesis import strategies as st
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from webapp.actors import SYSTEM
from webapp.jobs import attempts, dispatch, service
from webapp.jobs.attempts import Failure
from webapp.jobs.histograms import bucket_of, counted, percentile
from webapp.jobs.models import Job, JobAttempt, JobMetric, JobMetricHead
from webapp.jobs.rollup import COUNTS, HOUR, MINUTE, count, floor, is_due, take_turn, write
from webapp.jobs.values import Claim, Outcome

FAILURE = Failure("network", "ConnectionError", "no answer", "Traceback")
SECOND = timedelta(seconds=1)


def roll_up(session: Session, now: datetime) -> bool:
    """Count once, as a beat does; tell whether it was this one's turn."""
    if (turn := take_turn(session, now=now)) is None:
        return False
    return write(session, turn, count(session, turn))


def attempt(
    session: Session,
    ended_at: datetime,
    *,
    outcome: Outcome = Outcome.SUCCEEDED,
    seconds: float = 1.0,
    waited: float | None = None,
    type_name: str = "test_echo",
    fence: int = 1,
    **facts: Any,
) -> None:
    """Add an attempt that ended then."""
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
    started_at = ended_at - timedelta(seconds=seconds)
    row = JobAttempt(
        job_id=job.id,
        type=type_name,
        fence=fence,
        started_at=started_at,
        ended_at=ended_at,
        due_at=None if waited is None else started_at - timedelta(seconds=waited),
        outcome=outcome,
        worker="w",
        **facts,
    )
    session.add(row)
    session.flush()


def rows(session: Session, seconds: int = MINUTE) -> list[JobMetric]:
    found = select(JobMetric).where(JobMetric.seconds == seconds)
    session.expire_all()
    return list(session.scalars(found.order_by(JobMetric.at, JobMetric.type)))


def as_values(found: Sequence[JobMetric]) -> list[tuple[Any, ...]]:
    names = ("type", "seconds", "at", *COUNTS, "run_buckets", "wait_buckets")
    return [tuple(getattr(row, name) for name in names) for row in found]


def claim(session: Session, now: datetime) -> Claim:
    job = service.enqueue(session, "test_echo", {}, by=SYSTEM, now=now)
    held = attempts.claim(session, job.id, worker="w", lease_seconds=30, now=now)
    assert held is not None
    return held


def test_every_end_is_counted_by_what_it_was(session: Session, now: datetime) -> None:
    attempts.succeed(session, claim(session, now), result=None, now=now)
    later = now + timedelta(minutes=5)
    attempts.retry_later(
        session, claim(session, now), FAILURE, at=later, strategy="fixed", delay=0.0, now=now
    )
    attempts.bury(session, claim(session, now), FAILURE, now=now)
    attempts.defer(session, claim(session, now), reason="rests", at=later, now=now)
    attempts.stop(session, claim(session, now), now=now)
    attempts.release(session, claim(session, now), now=now)
    assert roll_up(session, now)
    (row,) = rows(session)
    assert {name: getattr(row, name) for name in COUNTS} == {
        "runs": 5,
        "succeeded": 1,
        "failed": 2,
        "retried": 1,
        "dead": 1,
        "deferred": 1,
        "lost": 0,
        "canceled": 1,
    }
    # How long those ran that did something to their end.
    assert sum(row.run_buckets) == 3


@pytest.mark.parametrize(("most", "dead"), [(3, 0), (0, 1)])
def test_a_loss_is_dead_only_where_it_was_one_too_many(
    session: Session, now: datetime, most: int, dead: int
) -> None:
    claim(session, now - timedelta(minutes=2))
    assert len(dispatch.settle_lost(session, max_losses=most, now=now)) == 1
    roll_up(session, now)
    (row,) = rows(session)
    assert (row.runs, row.lost, row.failed, row.dead) == (1, 1, 0, dead)


def test_durations_fall_into_the_buckets_that_they_belong_to(
    session: Session, now: datetime
) -> None:
    durations = [0.0, 0.000_4, 0.001, 0.25, 59.999_999, 61.5, 3_600.5, 90_000.25, 2e6]
    for number, seconds in enumerate(durations):
        attempt(session, now, seconds=seconds, waited=seconds * 2, fence=number)
    attempt(session, now, seconds=5.0)
    roll_up(session, now)
    (row,) = rows(session)
    assert row.run_buckets == counted((bucket_of(item), 1) for item in [*durations, 5.0])
    assert row.wait_buckets == counted((bucket_of(2 * item), 1) for item in durations)


def test_what_started_before_it_was_due_has_not_waited(session: Session, now: datetime) -> None:
    attempt(session, now, waited=-3.0)
    roll_up(session, now)
    assert rows(session)[0].wait_buckets == [1]
    assert percentile(rows(session)[0].wait_buckets, 99) == pytest.approx(0.001)


def test_minutes_and_hours_are_told_apart(session: Session, now: datetime) -> None:
    for minutes in (-61, -60, -1, 0):
        attempt(session, now + timedelta(minutes=minutes, seconds=59.5))
    attempt(session, now + timedelta(minutes=-1), type_name="other")
    roll_up(session, now)
    roll_up(session, now + 10 * SECOND)
    roll_up(session, now + 20 * SECOND)
    found = [(row.type, row.at - now, row.runs) for row in rows(session)]
    assert found == [
        ("test_echo", timedelta(minutes=-61), 1),
        ("test_echo", timedelta(minutes=-60), 1),
        ("other", timedelta(minutes=-1), 1),
        ("test_echo", timedelta(minutes=-1), 1),
        ("test_echo", timedelta(0), 1),
    ]
    hours = [(row.type, row.at - now, row.runs) for row in rows(session, HOUR)]
    assert hours == [
        ("test_echo", timedelta(hours=-2), 1),
        ("other", timedelta(hours=-1), 1),
        ("test_echo", timedelta(hours=-1), 2),
        ("test_echo", timedelta(0), 1),
    ]


def test_of_many_consumers_one_counts(session: Session, now: datetime) -> None:
    assert is_due(session, now=now)
    assert take_turn(session, now=now) is not None
    assert not is_due(session, now=now + 9 * SECOND)
    assert take_turn(session, now=now + 9 * SECOND) is None
    assert is_due(session, now=now + 10 * SECOND)
    assert take_turn(session, now=now + 10 * SECOND) is not None


def test_who_was_too_slow_writes_nothing(session: Session, now: datetime) -> None:
    slow = take_turn(session, now=now)
    assert slow is not None
    counts = count(session, slow)
    attempt(session, now)
    assert roll_up(session, now + 10 * SECOND)
    assert not write(session, slow, counts)
    assert [row.runs for row in rows(session)] == [1]


def test_an_end_that_is_written_late_is_counted_until_its_minute_is_closed(
    session: Session, now: datetime
) -> None:
    attempt(session, now + 59 * SECOND)
    roll_up(session, now + 60 * SECOND)
    attempt(session, now + 59 * SECOND)
    roll_up(session, now + 149 * SECOND)
    assert [row.runs for row in rows(session)] == [2]
    roll_up(session, now + 160 * SECOND)
    attempt(session, now + 59 * SECOND)
    roll_up(session, now + 171 * SECOND)
    assert [row.runs for row in rows(session)] == [2]
    assert [row.runs for row in rows(session, HOUR)] == [2]


def test_a_closed_minute_stays_when_its_attempts_are_removed(
    session: Session, now: datetime
) -> None:
    attempt(session, now)
    roll_up(session, now)
    roll_up(session, now + timedelta(minutes=5))
    session.execute(delete(JobAttempt))
    roll_up(session, now + timedelta(minutes=6))
    assert [row.runs for row in rows(session)] == [1]


def test_after_a_time_without_consumers_each_turn_catches_up_on_half_an_hour(
    session: Session, now: datetime
) -> None:
    roll_up(session, now)
    back = now + timedelta(hours=3)
    for minutes in (5, 34, 36, 155):
        attempt(session, now + timedelta(minutes=minutes))
    turns = 0
    while is_due(session, now=back) and roll_up(session, back):
        turns += 1
    # What lies between 36 and 155 minutes is passed over.
    assert turns == 3
    assert [row.at - now for row in rows(session)] == [
        timedelta(minutes=minutes) for minutes in (5, 34, 36, 155)
    ]
    assert sum(row.runs for row in rows(session, HOUR)) == 4


def test_counting_begins_a_day_back(session: Session, now: datetime) -> None:
    attempt(session, now - timedelta(hours=25))
    attempt(session, now - timedelta(hours=23))
    while is_due(session, now=now) and roll_up(session, now):
        pass
    assert [row.at - now for row in rows(session)] == [timedelta(hours=-23)]


def test_minutes_are_forgotten_after_a_day_and_hours_after_a_season(
    session: Session, now: datetime
) -> None:
    attempt(session, now)
    roll_up(session, now)
    kept = [
        (len(rows(session)), len(rows(session, HOUR)))
        for age in (timedelta(hours=26), timedelta(hours=27), timedelta(days=91))
        if roll_up(session, now + age)
    ]
    assert kept == [(1, 1), (0, 1), (0, 0)]


def test_a_stamp_from_a_clock_that_was_ahead_stops_nobody(session: Session, now: datetime) -> None:
    roll_up(session, now)
    session.execute(update(JobMetricHead).values(claimed_at=now + timedelta(days=1)))
    attempt(session, now)
    assert is_due(session, now=now)
    assert roll_up(session, now)
    assert [row.runs for row in rows(session)] == [1]


offsets = st.lists(st.integers(0, 600), max_size=12)


@limits(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ends=offsets, beats=st.lists(st.integers(0, 600), max_size=8))
def test_however_often_it_is_counted_the_sums_are_those_of_the_attempts(
    session: Session, now: datetime, ends: list[int], beats: list[int]
) -> None:
    for seconds in sorted(beats):
        for end in [end for end in ends if end <= seconds]:
            attempt(session, now + end * SECOND)
        ends = [end for end in ends if end > seconds]
        roll_up(session, now + seconds * SECOND)
    for end in ends:
        attempt(session, now + end * SECOND)
    last = now + timedelta(seconds=610)
    while is_due(session, now=last) and roll_up(session, last):
        pass
    moments = session.scalars(select(JobAttempt.ended_at))
    truth = Counter(floor(moment, MINUTE) for moment in moments if moment)
    found = {row.at: row.runs for row in rows(session)}
    hours = sum(row.runs for row in rows(session, HOUR))
    session.rollback()
    assert found == truth
    assert hours == truth.total()


def test_counting_twice_changes_nothing(session: Session, now: datetime) -> None:
    for minutes in range(4):
        attempt(session, now + timedelta(minutes=minutes), seconds=minutes)
    later = now + timedelta(minutes=4)
    roll_up(session, later)
    first = as_values([*rows(session), *rows(session, HOUR)])
    roll_up(session, later + 10 * SECOND)
    assert as_values([*rows(session), *rows(session, HOUR)]) == first
