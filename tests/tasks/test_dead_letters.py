"""The ``dead-letter-bulk`` job: each letter has its turn once, whatever happens between two."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select, update

from tasks import dead_letters
from tasks.work import run
from tests.dead_letters.conftest import make_letters
from tests.tasks.workers import Context, Killed
from webapp.actors import Actor
from webapp.breakers.models import CircuitBreakerState
from webapp.clock import now
from webapp.db import reading, transaction
from webapp.dead_letters import bulk
from webapp.dead_letters.models import DeadLetter
from webapp.dead_letters.values import BulkAction, BulkOrder
from webapp.jobs.attempts import claim as claim_job
from webapp.jobs.dispatch import settle_lost
from webapp.jobs.models import Job, JobAttempt
from webapp.jobs.service import cancel, enqueue, find_job
from webapp.jobs.values import Claim, JobCancelled, JobState, LeaseLost

MIRA = Actor("user", "mira", "request-0123456789")
BATCH = 3


@pytest.fixture(autouse=True)
def small_batches(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(dead_letters, "AT_ONCE", BATCH)
    monkeypatch.setattr(bulk, "AT_ONCE", BATCH)
    with app.app_context():
        yield


def lose(count: int) -> None:
    with transaction() as session:
        make_letters(session, count, at=now())


def start(action: str = "retry", **options: Any) -> int:
    with transaction() as session:
        order = BulkOrder(action=BulkAction(action), at=now(), **options)
        order = bulk.checked(session, order, now=now())
        job_id = bulk.carry_out(session, order, by=MIRA, now=now()).job_id
    assert job_id is not None
    return job_id


def claimed(job_id: int) -> Claim:
    with transaction() as session:
        held = claim_job(session, job_id, worker="w", lease_seconds=30, now=now())
    assert held is not None
    return held


def act(context: Context) -> dict[str, Any]:
    arguments = dead_letters.BulkArguments.model_validate(context.claim.arguments)
    result = dead_letters.act_on_letters(context, arguments)
    assert isinstance(result, dict)
    return result


def lapse(job_id: int) -> None:
    """Let the lease run out, and put the job back as a worker's beat does."""
    with transaction() as session:
        past = now() - timedelta(seconds=1)
        session.execute(update(Job).where(Job.id == job_id).values(lease_expires_at=past))
        assert settle_lost(session, max_losses=5, now=now())


def job(job_id: int) -> Job:
    with reading() as session:
        return find_job(session, job_id)


def retries() -> list[int]:
    with reading() as session:
        counts = select(DeadLetter.retry_count).order_by(DeadLetter.id)
        return list(session.scalars(counts))


def set_breaker(state: str) -> None:
    with transaction() as session:
        session.merge(
            CircuitBreakerState(
                name="bank",
                state=state,
                opened_at=now() if state == "open" else None,
                open_seconds=3600.0,
                failures=5,
                failure_threshold=5,
                updated_at=now(),
                version=1,
            )
        )


def test_all_that_match_are_retried_in_the_name_of_who_asked(app: Flask) -> None:
    lose(8)
    job_id = start()
    assert run(app, job_id, worker="w")
    done = job(job_id)
    assert (done.state, done.result) == (JobState.SUCCEEDED, {"done": 8, "refused": {}})
    assert (done.progress_done, done.progress_total) == (8, 8)
    assert retries() == [1] * 8


def test_closing_tells_each_letter_who_and_why(app: Flask) -> None:
    lose(4)
    assert run(app, start("discard", why="Test data"), worker="w")
    with reading() as session:
        letters = session.scalars(select(DeadLetter)).all()
    told = {(letter.resolution, letter.resolved_by, letter.notes) for letter in letters}
    assert told == {("discarded", "mira", "Test data")}


def test_what_does_not_let_it_is_told(app: Flask) -> None:
    lose(4)
    with transaction() as session:
        first = select(func.min(DeadLetter.job_id)).scalar_subquery()
        session.execute(update(Job).where(Job.id == first).values(type="gone"))
    job_id = start()
    assert run(app, job_id, worker="w")
    assert job(job_id).result == {"done": 3, "refused": {"type_gone": 1}}
    assert job(job_id).progress_message == "1 refused"


@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_killed_worker_leaves_none_out_and_takes_none_twice(after: int) -> None:
    lose(8)
    job_id = start()

    def die() -> None:
        raise Killed

    with pytest.raises(Killed):
        act(Context(claimed(job_id), after=after, happen=die))
    assert sum(retries()) == min(8, BATCH * after)
    lapse(job_id)
    context = Context(claimed(job_id))
    assert act(context)["done"] == 8
    assert context.shown == [] or context.shown[-1] == (8, 8)
    assert retries() == [1] * 8


def test_a_worker_that_lost_the_job_takes_back_what_it_did(app: Flask) -> None:
    lose(8)
    job_id = start()
    slow = Context(claimed(job_id), after=1, happen=lambda: lapse(job_id))
    with pytest.raises(LeaseLost):
        act(slow)
    assert retries() == [1] * BATCH + [0] * (8 - BATCH)
    assert run(app, job_id, worker="w")
    assert job(job_id).result == {"done": 8, "refused": {}}
    assert retries() == [1] * 8


def test_it_stops_between_two_batches_and_goes_on_when_it_is_retried(app: Flask) -> None:
    lose(8)
    job_id = start()
    context = Context(claimed(job_id), after=1)
    context._happen = lambda: setattr(context, "asked_to_stop", True)
    with pytest.raises(JobCancelled):
        act(context)
    assert sum(retries()) == BATCH
    lapse(job_id)
    assert run(app, job_id, worker="w")
    assert retries() == [1] * 8


def test_while_it_waits_for_its_pace_it_is_canceled_at_once(app: Flask) -> None:
    lose(4)
    job_id = start(per_minute=1.0)
    assert run(app, job_id, worker="w")
    waiting = job(job_id)
    assert (waiting.state, waiting.deferrals) == (JobState.RETRYING, 1)
    assert retries() == [1, 1, 0, 0]
    assert 59 <= (waiting.run_at - now()).total_seconds() + 1 <= 91
    with transaction() as session:
        assert cancel(session, job_id, by=MIRA, now=now()).state == JobState.CANCELED
    assert not run(app, job_id, worker="w", early=True)
    assert retries() == [1, 1, 0, 0]


def test_it_waits_while_the_breaker_is_open_and_goes_on_when_it_closes(app: Flask) -> None:
    set_breaker("open")
    lose(4)
    job_id = start(breaker="bank")
    assert run(app, job_id, worker="w")
    waiting = job(job_id)
    assert (waiting.state, waiting.attempts) == (JobState.RETRYING, 0)
    assert "bank" in str(waiting.error)
    assert retries() == [0] * 4
    set_breaker("closed")
    assert run(app, job_id, worker="w", early=True)
    assert job(job_id).state == JobState.SUCCEEDED
    assert retries() == [1] * 4


def test_a_breaker_that_waits_for_a_trial_gets_one_letter_at_a_time(app: Flask) -> None:
    set_breaker("half_open")
    lose(4)
    job_id = start(breaker="bank")
    for turn in (1, 2):
        assert run(app, job_id, worker="w", early=True)
        assert job(job_id).state == JobState.RETRYING
        assert sum(retries()) == turn
    set_breaker("open")
    assert run(app, job_id, worker="w", early=True)
    assert sum(retries()) == 2


def test_whoever_enqueues_it_by_hand_acts_in_no_name_but_their_own(app: Flask) -> None:
    lose(4)
    arguments = {"action": "resolve", "at": now().isoformat(), "why": "Seen to"}
    with transaction() as session:
        by = Actor("token", "program")
        job_id = enqueue(session, "dead-letter-bulk", arguments, by=by, now=now()).id
    assert run(app, job_id, worker="w")
    with reading() as session:
        assert set(session.scalars(select(DeadLetter.resolved_by))) == {"program"}


@pytest.mark.parametrize(
    "arguments",
    [
        {"action": "resolve"},
        {"filters": {"older": "2h"}},
        {"per_minute": 0},
        {"breaker": "nothing"},
    ],
)
def test_what_makes_no_sense_fails_at_once_and_changes_nothing(
    app: Flask, arguments: dict[str, Any]
) -> None:
    lose(1)
    given = {"action": "retry", "at": now().isoformat()} | arguments
    with transaction() as session:
        job_id = enqueue(session, "dead-letter-bulk", given, by=MIRA, now=now()).id
    assert run(app, job_id, worker="w")
    assert job(job_id).state == JobState.DEAD
    with reading() as session:
        assert session.scalar(select(func.count()).select_from(JobAttempt)) == 2
        assert retries()[0] == 0
