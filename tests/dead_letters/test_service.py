"""Retrying and closing letters; never two open ones for one job."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from tests.dead_letters.conftest import MakeLetters, bury, job_of, make_letters, state_of
from webapp.actors import SYSTEM, Actor
from webapp.audit.service import history
from webapp.clock import now as clock_now
from webapp.db import reading, transaction
from webapp.dead_letters import service
from webapp.dead_letters.models import DeadLetter
from webapp.dead_letters.service import ActionRefused
from webapp.dead_letters.values import Refusal
from webapp.errors import Conflict, Invalid, NotFound
from webapp.jobs import attempts
from webapp.jobs.models import Job
from webapp.jobs.service import cancel, enqueue, find_job
from webapp.jobs.values import JobState

MIRA = Actor("user", "mira")


def test_success_resolves_a_letter(session: Session, now: datetime) -> None:
    (letter_id,) = make_letters(session, at=now)
    letter = service.retry(session, letter_id, by=MIRA, now=now)
    assert (letter.resolved_at, letter.retry_count) == (None, 1)
    service.resolve_by_success(session, letter.job_id, now=now)
    letter = service.find_letter(session, letter_id)
    assert (letter.resolution, letter.resolved_at) == ("resolved_by_retry", now)


def test_failure_renews_it_with_what_failed_last(session: Session, now: datetime) -> None:
    (letter_id,) = make_letters(session, at=now, arguments={"value": 1})
    service.retry(session, letter_id, by=MIRA, now=now, arguments={"value": 2})
    later = now + timedelta(hours=1)
    assert bury(session, job_of(session, letter_id), at=later, message="no disk") == letter_id
    letter = service.find_letter(session, letter_id)
    assert (letter.message, letter.failed_at, letter.resolved_at) == ("no disk", later, None)
    assert (letter.arguments["value"], letter.retry_count) == (2, 1)


def test_a_letter_that_was_closed_opens_when_its_job_dies_again(
    session: Session, now: datetime
) -> None:
    (letter_id,) = make_letters(session, at=now)
    service.retry(session, letter_id, by=MIRA, now=now)
    service.resolve(session, letter_id, by=MIRA, now=now, notes="Seen to")
    bury(session, job_of(session, letter_id), at=now)
    letter = service.find_letter(session, letter_id)
    assert (letter.resolved_at, letter.resolution, letter.notes) == (None, None, None)


def test_a_job_has_one_letter_at_most(session: Session, now: datetime) -> None:
    (letter_id,) = make_letters(session, at=now)
    letter = service.find_letter(session, letter_id)
    columns = [column.key for column in DeadLetter.__table__.columns if column.key != "id"]
    session.add(DeadLetter(**{name: getattr(letter, name) for name in columns}))
    with pytest.raises(IntegrityError):
        session.flush()


def test_a_retry_can_be_put_off(session: Session, now: datetime) -> None:
    (letter_id,) = make_letters(session, at=now)
    later = now + timedelta(minutes=5)
    service.retry(session, letter_id, by=MIRA, now=now, run_at=later)
    job = find_job(session, job_of(session, letter_id))
    assert (job.state, job.run_at) == (JobState.SCHEDULED, later)


def test_a_canceled_job_of_an_open_letter_can_be_retried(session: Session, now: datetime) -> None:
    (letter_id,) = make_letters(session, at=now)
    service.retry(session, letter_id, by=MIRA, now=now)
    cancel(session, job_of(session, letter_id), by=MIRA, now=now)
    service.retry(session, letter_id, by=MIRA, now=now)
    assert state_of(session, letter_id) == JobState.QUEUED


def running(session: Session, letter_id: int, now: datetime) -> None:
    service.retry(session, letter_id, by=MIRA, now=now)


def closed(session: Session, letter_id: int, now: datetime) -> None:
    service.resolve(session, letter_id, by=MIRA, now=now, notes="Seen to")


def gone(session: Session, letter_id: int, now: datetime) -> None:
    session.execute(update(Job).values(type="gone"))


def changed(session: Session, letter_id: int, now: datetime) -> None:
    session.execute(update(Job).values(arguments={"other": 1}))


def taken(session: Session, letter_id: int, now: datetime) -> None:
    session.execute(update(Job).values(unique_key="k"))
    enqueue(session, "test_echo", {}, by=SYSTEM, now=now, unique_key="k")


@pytest.mark.parametrize(
    ("happen", "why", "words"),
    [
        (running, Refusal.ALREADY_RUNNING, "is queued: it is being tried again already"),
        (closed, Refusal.CLOSED, "was resolved by mira"),
        (gone, Refusal.TYPE_GONE, "no job type 'gone' any more"),
        (changed, Refusal.SCHEMA_CHANGED, "no longer fit test_echo"),
        (taken, Refusal.UNIQUE_KEY_TAKEN, "under the key 'k'"),
    ],
)
def test_a_refused_retry_says_why_and_changes_nothing(
    session: Session,
    now: datetime,
    happen: Callable[[Session, int, datetime], None],
    why: Refusal,
    words: str,
) -> None:
    (letter_id,) = make_letters(session, at=now)
    happen(session, letter_id, now)
    before = service.find_letter(session, letter_id).retry_count
    state = state_of(session, letter_id)
    with pytest.raises(ActionRefused, match=words) as refusal:
        service.retry(session, letter_id, by=MIRA, now=now)
    assert refusal.value.why == why
    session.expire_all()
    assert service.find_letter(session, letter_id).retry_count == before
    assert state_of(session, letter_id) == state


def test_arguments_that_no_longer_fit_can_be_changed(session: Session, now: datetime) -> None:
    (letter_id,) = make_letters(session, at=now)
    changed(session, letter_id, now)
    great = 10**40
    service.retry(session, letter_id, by=MIRA, now=now, arguments={"value": great})
    job = find_job(session, job_of(session, letter_id))
    assert job.arguments["value"] == great
    (entry, *_) = history(session, "job", str(job.id))
    (change,) = entry.changes
    assert (change.field, change.old, change.new["value"]) == ("arguments", {"other": 1}, great)


def test_arguments_that_do_not_fit_are_refused_in_their_field(
    session: Session, now: datetime
) -> None:
    (letter_id,) = make_letters(session, at=now)
    with pytest.raises(Invalid) as refusal:
        service.retry(session, letter_id, by=MIRA, now=now, arguments={"value": "x", "odd": 1})
    (messages,) = refusal.value.errors.values()
    assert list(refusal.value.errors) == ["arguments"]
    assert "value: " in messages[0]
    assert "odd: " in messages[0]
    assert state_of(session, letter_id) == JobState.DEAD


def test_a_discarded_job_stays_dead(session: Session, now: datetime) -> None:
    (letter_id,) = make_letters(session, at=now)
    letter = service.discard(session, letter_id, by=MIRA, now=now, reason=" Test data ")
    assert (letter.resolution, letter.resolved_by, letter.notes) == (
        "discarded",
        "mira",
        "Test data",
    )
    assert state_of(session, letter_id) == JobState.DEAD
    (entry,) = history(session, "dead_letter", str(letter_id))
    assert (entry.action, entry.reason) == ("dead_letter.discarded", "Test data")
    with pytest.raises(ActionRefused, match="was discarded by mira"):
        service.retry(session, letter_id, by=MIRA, now=now)


def test_what_waits_for_a_job_that_is_given_up_is_canceled(session: Session, now: datetime) -> None:
    (letter_id,) = make_letters(session, at=now)
    dead = service.find_letter(session, letter_id).job_id
    waiting = enqueue(session, "test_echo", {}, by=SYSTEM, now=now, depends_on=[dead]).id
    service.discard(session, letter_id, by=MIRA, now=now, reason="Test data")
    job = find_job(session, waiting)
    assert (job.state, job.error) == (
        JobState.CANCELED,
        f"Job {dead}, which it waited for, was given up.",
    )


@pytest.mark.parametrize("reason", ["", "  ", "x" * 501])
def test_a_discard_needs_a_reason_of_bounded_length(
    session: Session, now: datetime, reason: str
) -> None:
    (letter_id,) = make_letters(session, at=now)
    with pytest.raises(Invalid) as refusal:
        service.discard(session, letter_id, by=MIRA, now=now, reason=reason)
    assert list(refusal.value.errors) == ["reason"]


def test_what_runs_again_is_not_discarded(session: Session, now: datetime) -> None:
    (letter_id,) = make_letters(session, at=now)
    running(session, letter_id, now)
    with pytest.raises(ActionRefused) as refusal:
        service.discard(session, letter_id, by=MIRA, now=now, reason="Test data")
    assert refusal.value.why == Refusal.ALREADY_RUNNING


def test_what_was_closed_long_ago_is_removed_and_nothing_else(
    session: Session, now: datetime
) -> None:
    opened, old, older, young = make_letters(session, 4, at=now)
    for letter_id, days in ((old, 31), (older, 40), (young, 29)):
        at = now - timedelta(days=days)
        service.resolve(session, letter_id, by=MIRA, now=at, notes="Seen to")
    before = now - timedelta(days=30)
    options = {"resolved_before": before, "by": MIRA, "now": now}
    assert service.remove_resolved(session, most=1, **options) == 1  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        service.find_letter(session, older)
    assert service.remove_resolved(session, most=9, **options) == 1  # type: ignore[arg-type]
    assert service.remove_resolved(session, most=9, **options) == 0  # type: ignore[arg-type]
    assert set(session.scalars(select(DeadLetter.id))) == {opened, young}
    assert session.scalar(select(func.count()).select_from(Job)) == 4
    entries = history(session, "dead_letters", "resolved")
    assert [entry.action for entry in entries] == ["dead_letters.removed"] * 2


def test_of_many_who_retry_a_letter_at_once_one_does(app: Flask, lose: MakeLetters) -> None:
    (letter_id,) = lose()

    def retry(_: int) -> bool:
        with app.app_context(), transaction() as session:
            try:
                service.retry(session, letter_id, by=MIRA, now=clock_now())
            except Conflict:
                return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(retry, range(6))) == [False] * 5 + [True]
    with app.app_context(), reading() as session:
        assert service.find_letter(session, letter_id).retry_count == 1


def test_retries_discards_and_deaths_at_once_leave_one_letter_that_tells_the_truth(
    app: Flask, lose: MakeLetters
) -> None:
    """Whoever wins: one letter for the job; one that was discarded has a dead job."""
    (letter_id,) = lose()
    with app.app_context(), reading() as session:
        job_id = job_of(session, letter_id)

    def act(number: int) -> None:
        with app.app_context(), transaction() as session:
            try:
                if number % 3 == 0:
                    service.retry(session, letter_id, by=MIRA, now=clock_now())
                elif number % 3 == 1:
                    held = attempts.claim(
                        session, job_id, worker="w", lease_seconds=9, now=clock_now()
                    )
                    if held is not None:
                        attempts.put_back(session, job_id, held.fence, now=clock_now())
                        bury(session, job_id, at=clock_now())
                elif number == 11:
                    service.discard(session, letter_id, by=MIRA, now=clock_now(), reason="Old")
            except Conflict:
                pass

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(act, range(24)))
    with app.app_context(), reading() as session:
        (letter,) = session.scalars(select(DeadLetter)).all()
        state = find_job(session, job_id).state
        assert state in {JobState.DEAD, JobState.QUEUED}
        if letter.resolution == "discarded":
            assert state == JobState.DEAD
