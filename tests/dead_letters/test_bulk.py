"""Many letters at once: which, how many, at what pace, and never twice."""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from tests.dead_letters.conftest import bury, job_of, make_letters, state_of
from webapp.actors import Actor
from webapp.breakers.models import CircuitBreakerState
from webapp.dead_letters import bulk, service
from webapp.dead_letters.models import DeadLetter
from webapp.dead_letters.selection import count_ordered, sample_ordered
from webapp.dead_letters.values import BulkAction, BulkOrder, LetterFilters, Place, Refusal
from webapp.errors import Invalid
from webapp.jobs.models import Job
from webapp.jobs.service import find_job
from webapp.jobs.values import JobState

MIRA = Actor("user", "mira")


def order_of(now: datetime, action: str = "retry", **options: Any) -> BulkOrder:
    filters = LetterFilters(**options.pop("filters", {}))
    return BulkOrder(action=BulkAction(action), at=now, filters=filters, **options)


def carry_out(session: Session, order: BulkOrder, now: datetime) -> bulk.BulkOutcome:
    order = bulk.checked(session, order, now=now)
    return bulk.carry_out(session, order, by=MIRA, now=now)


def add_breaker(session: Session, now: datetime, state: str = "open", name: str = "bank") -> None:
    session.add(
        CircuitBreakerState(
            name=name,
            state=state,
            opened_at=now if state == "open" else None,
            open_seconds=30.0,
            failures=5,
            failure_threshold=5,
            updated_at=now,
            version=1,
        )
    )
    session.flush()


def test_few_letters_are_retried_at_once(session: Session, now: datetime) -> None:
    letters = make_letters(session, 3, at=now)
    outcome = carry_out(session, order_of(now), now)
    assert (outcome.count, outcome.job_id) == (3, None)
    assert outcome.place is not None
    assert (outcome.place.done, outcome.place.refused, outcome.place.over) == (3, {}, True)
    assert {state_of(session, letter) for letter in letters} == {JobState.QUEUED}


@pytest.mark.parametrize(
    ("filters", "chosen"),
    [
        ({}, {0, 1, 2, 3}),
        ({"type": "test_fail"}, {1}),
        ({"exception": "KeyError"}, {2}),
        ({"text": "DISK"}, {3}),
        ({"older": "3h"}, {0}),
        ({"newer": "3h"}, {1, 2, 3}),
        ({"type": "test_echo", "newer": "3h"}, {2, 3}),
        ({"type": "nothing"}, set()),
    ],
)
def test_a_filter_says_which(
    session: Session, now: datetime, filters: dict[str, str], chosen: set[int]
) -> None:
    recent = now - timedelta(hours=1)
    letters = [
        *make_letters(session, at=now - timedelta(hours=3)),
        *make_letters(session, at=recent, type_name="test_fail"),
        *make_letters(session, at=recent, exception="KeyError"),
        *make_letters(session, at=recent, message="no disk"),
    ]
    order = order_of(now, "resolve", filters=filters, why="Seen to")
    assert count_ordered(session, order) == len(chosen)
    assert {row.id for row in sample_ordered(session, order, 9)} == {letters[at] for at in chosen}
    carry_out(session, order, now)
    resolved = session.scalars(select(DeadLetter.id).where(DeadLetter.resolved_at.is_not(None)))
    assert set(resolved) == {letters[at] for at in chosen}


def test_named_jobs_are_acted_on_and_no_others(session: Session, now: datetime) -> None:
    one, other, third = make_letters(session, 3, at=now)
    jobs = (job_of(session, one), job_of(session, third), 999_999)
    outcome = carry_out(session, order_of(now, "discard", job_ids=jobs, why="Old"), now)
    assert outcome.count == 2
    assert service.find_letter(session, one).resolution == "discarded"
    assert service.find_letter(session, third).notes == "Old"
    assert service.find_letter(session, other).resolved_at is None


def test_what_is_under_way_or_fails_later_is_not_among_them(
    session: Session, now: datetime
) -> None:
    under_way, renewed, _ = make_letters(session, 3, at=now)
    service.retry(session, under_way, by=MIRA, now=now)
    service.retry(session, renewed, by=MIRA, now=now)
    bury(session, job_of(session, renewed), at=now + timedelta(seconds=1))
    assert count_ordered(session, order_of(now)) == 1
    assert count_ordered(session, order_of(now, "discard")) == 1
    assert count_ordered(session, order_of(now, "resolve")) == 2


def test_letters_that_do_not_let_it_are_counted_by_reason(session: Session, now: datetime) -> None:
    letters = make_letters(session, 4, at=now)
    for letter_id, values in (
        (letters[0], {"type": "gone"}),
        (letters[1], {"arguments": {"odd": 1}}),
        (letters[2], {"arguments": {"odd": 1}}),
    ):
        changed = update(Job).where(Job.id == job_of(session, letter_id)).values(**values)
        session.execute(changed)
    place = carry_out(session, order_of(now), now).place
    assert place is not None
    assert (place.done, place.refused) == (1, {Refusal.TYPE_GONE: 1, Refusal.SCHEMA_CHANGED: 2})
    assert state_of(session, letters[3]) == JobState.QUEUED


def test_two_letters_of_one_key_are_not_both_retried(session: Session, now: datetime) -> None:
    letters = [letter for _ in range(2) for letter in make_letters(session, at=now, unique_key="k")]
    place = carry_out(session, order_of(now), now).place
    assert place is not None
    assert (place.done, place.refused) == (1, {Refusal.UNIQUE_KEY_TAKEN: 1})
    states = [state_of(session, letter) for letter in letters]
    assert states == [JobState.QUEUED, JobState.DEAD]


@pytest.mark.parametrize("options", [{"per_minute": 60.0}, {"breaker": "bank"}])
def test_what_waits_is_done_by_a_job(
    session: Session, now: datetime, options: dict[str, Any]
) -> None:
    add_breaker(session, now)
    (letter,) = make_letters(session, at=now)
    order = order_of(now, filters={"type": "test_echo"}, **options)
    outcome = carry_out(session, order, now)
    assert outcome.job_id is not None
    assert state_of(session, letter) == JobState.DEAD
    job = find_job(session, outcome.job_id)
    assert (job.type, job.created_by) == ("dead-letter-bulk", "mira")
    assert job.arguments["filters"]["type"] == "test_echo"
    assert carry_out(session, order, now).job_id == outcome.job_id


def test_many_are_done_by_a_job(
    session: Session, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "AT_ONCE", 2)
    make_letters(session, 3, at=now)
    assert carry_out(session, order_of(now), now).job_id is not None


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"action": "resolve"}, "notes"),
        ({"action": "resolve", "why": "x" * 501}, "notes"),
        ({"action": "discard", "why": " "}, "reason"),
        ({"action": "resolve", "why": "x", "per_minute": 1.0}, "per_minute"),
        ({"action": "discard", "why": "x", "breaker": "bank"}, "when_breaker_closes"),
        ({"per_minute": 0.0}, "per_minute"),
        ({"per_minute": -1.0}, "per_minute"),
        ({"per_minute": float("nan")}, "per_minute"),
        ({"per_minute": 60_001.0}, "per_minute"),
        ({"per_minute": 1e-300}, "per_minute"),
        ({"breaker": "nothing"}, "when_breaker_closes"),
        ({"job_ids": ()}, "job_ids"),
        ({"job_ids": tuple(range(1, 1_002))}, "job_ids"),
        ({"job_ids": (2**63,)}, "job_ids"),
        ({"job_ids": (0,)}, "job_ids"),
        ({"filters": {"older": "2h"}}, "older"),
        ({"filters": {"newer": "2h"}}, "newer"),
    ],
)
def test_what_makes_no_sense_is_refused_by_field(
    session: Session, now: datetime, options: dict[str, Any], field: str
) -> None:
    add_breaker(session, now)
    with pytest.raises(Invalid) as refusal:
        bulk.checked(session, order_of(now, **options), now=now)
    assert list(refusal.value.errors) == [field]


def test_letters_that_have_yet_to_fail_are_never_meant(session: Session, now: datetime) -> None:
    order = order_of(now + timedelta(days=1))
    assert bulk.checked(session, order, now=now).at == now


def test_a_pace_spreads_the_retries(session: Session, now: datetime) -> None:
    letters = make_letters(session, 5, at=now)
    order = order_of(now, per_minute=120.0)
    place = bulk.act_on_next(session, order, Place(), by=MIRA, now=now)
    due = [find_job(session, job_of(session, letter)).run_at - now for letter in letters]
    assert due == [timedelta(seconds=0.5) * number for number in range(5)]
    assert place.over


def test_retries_are_given_out_a_minute_ahead_and_no_further(
    session: Session, now: datetime
) -> None:
    make_letters(session, 7, at=now)
    order = order_of(now, per_minute=2.0)
    place = bulk.act_on_next(session, order, Place(), by=MIRA, now=now)
    assert (place.done, place.over, place.due) == (3, False, now + timedelta(seconds=90))
    again = bulk.act_on_next(session, order, place, by=MIRA, now=now)
    assert again == place
    later = bulk.act_on_next(session, order, place, by=MIRA, now=now + timedelta(seconds=45))
    assert (later.done, later.due) == (4, now + timedelta(seconds=120))
    # Whoever comes back after a night goes on at the same pace, and makes up for nothing.
    morning = now + timedelta(hours=8)
    rest = bulk.act_on_next(session, order, later, by=MIRA, now=morning)
    assert (rest.done, rest.due, rest.over) == (7, morning + timedelta(seconds=90), True)


@settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=12), count=st.integers(0, 12))
def test_however_it_is_cut_each_letter_has_its_turn_once(
    session: Session, now: datetime, sizes: list[int], count: int
) -> None:
    """The place goes through JSON from one batch to the next, as it does from worker to worker."""
    with session.begin_nested() as savepoint:
        letters = make_letters(session, count, at=now)
        order, place = order_of(now), Place()
        for size in [*sizes, 100]:
            place = bulk.act_on_next(session, order, place, by=MIRA, now=now, most=size)
            place = bulk.place_of(json.loads(json.dumps(bulk.checkpoint_of(place))))
        assert (place.done, place.refused, place.over) == (count, {}, True)
        assert [service.find_letter(session, letter).retry_count for letter in letters] == (
            [1] * count
        )
        assert bulk.act_on_next(session, order, replace(place, after=0), by=MIRA, now=now).done == (
            count
        )
        savepoint.rollback()


def test_the_beginning_is_a_place_too() -> None:
    assert bulk.place_of(None) == Place()
