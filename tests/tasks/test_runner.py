"""Running jobs for real, in this process: every way an attempt can end."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from tasks.work import run
from webapp.actors import SYSTEM
from webapp.clock import now
from webapp.db import reading, transaction
from webapp.dead_letters.models import DeadLetter
from webapp.dead_letters.service import retry
from webapp.jobs import attempts, service
from webapp.jobs.models import Job, JobAttempt
from webapp.jobs.registry import _types
from webapp.jobs.values import JobState, Outcome


@pytest.fixture(autouse=True)
def in_app(app: Flask) -> Iterator[None]:
    """Every test here reads and writes with sessions of its own."""
    with app.app_context():
        yield


def enqueue(type_name: str, **arguments: Any) -> int:
    with transaction() as session:
        return service.enqueue(session, type_name, arguments, by=SYSTEM, now=now()).id


def job(job_id: int) -> Job:
    with reading() as session:
        return service.find_job(session, job_id)


def outcomes(job_id: int) -> list[JobAttempt]:
    with reading() as session:
        found = select(JobAttempt).where(JobAttempt.job_id == job_id).order_by(JobAttempt.fence)
        return list(session.scalars(found))


def letters() -> list[DeadLetter]:
    with reading() as session:
        return list(session.scalars(select(DeadLetter)))


def run_to_the_end(app: Flask, job_id: int) -> None:
    for _ in range(10):
        if not run(app, job_id, worker="w1", early=True):
            return
    pytest.fail("the job never ended")


def test_a_success_keeps_its_result(app: Flask) -> None:
    job_id = enqueue("test_echo", value=7)
    assert run(app, job_id, worker="w1")
    done = job(job_id)
    assert (done.state, done.result, done.attempts) == (JobState.SUCCEEDED, {"value": 7}, 1)
    assert [item.outcome for item in outcomes(job_id)] == [Outcome.SUCCEEDED]


def test_a_job_that_somebody_has_is_left_alone(app: Flask) -> None:
    job_id = enqueue("test_echo")
    assert run(app, job_id, worker="w1")
    assert not run(app, job_id, worker="w2")
    assert not run(app, 999_999, worker="w2")


def test_a_transient_failure_is_retried_and_may_succeed(app: Flask) -> None:
    job_id = enqueue("test_fail", until=2)
    assert run(app, job_id, worker="w1")
    waiting = job(job_id)
    assert (waiting.state, waiting.attempts) == (JobState.RETRYING, 1)
    (failed,) = outcomes(job_id)
    assert (failed.error_class, failed.exception_type) == ("network", "ConnectionError")
    assert failed.traceback is not None
    assert "tests/jobs/types.py" in failed.traceback
    run_to_the_end(app, job_id)
    assert job(job_id).result == {"attempt": 2}
    assert letters() == []


def test_spent_attempts_end_in_a_dead_letter(app: Flask) -> None:
    job_id = enqueue("test_fail")
    run_to_the_end(app, job_id)
    assert (job(job_id).state, job(job_id).attempts) == (JobState.DEAD, 3)
    (letter,) = letters()
    assert (letter.job_id, letter.reason) == (job_id, "attempts_spent")
    assert letter.message == f"attempt 3 of job {job_id} failed"


def test_a_bug_is_not_retried(app: Flask) -> None:
    job_id = enqueue("test_fail", error="TypeError")
    run_to_the_end(app, job_id)
    assert [item.error_class for item in outcomes(job_id)] == ["bug"]
    assert letters()[0].reason == "not_retryable"


def test_a_deferral_spends_no_attempt(app: Flask) -> None:
    job_id = enqueue("test_defer")
    run_to_the_end(app, job_id)
    done = job(job_id)
    assert (done.state, done.attempts, done.deferrals) == (JobState.SUCCEEDED, 1, 1)
    assert [item.outcome for item in outcomes(job_id)] == [Outcome.DEFERRED, Outcome.SUCCEEDED]


def test_a_result_that_is_no_json_is_a_bug(app: Flask) -> None:
    job_id = enqueue("test_odd_result")
    run_to_the_end(app, job_id)
    assert job(job_id).state == JobState.DEAD
    assert "not JSON" in letters()[0].message


def test_a_time_limit_ends_the_attempt(app: Flask) -> None:
    job_id = enqueue("test_slow")
    assert run(app, job_id, worker="w1")
    (attempt,) = outcomes(job_id)
    assert (attempt.outcome, attempt.error_class) == (Outcome.FAILED, "timeout")
    assert job(job_id).state == JobState.RETRYING


def test_a_type_that_this_worker_does_not_know_is_left_to_others_and_then_buried(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = enqueue("test_echo")
    monkeypatch.delitem(_types, "test_echo")
    assert run(app, job_id, worker="old")
    waiting = job(job_id)
    assert (waiting.state, waiting.attempts, waiting.deferrals) == (JobState.RETRYING, 0, 1)
    run_to_the_end(app, job_id)
    assert (job(job_id).state, job(job_id).deferrals) == (JobState.DEAD, 5)
    assert "test_echo" in letters()[0].message


def test_arguments_that_no_longer_fit_are_a_dead_letter(app: Flask) -> None:
    job_id = enqueue("test_echo")
    with transaction() as session:
        service.find_job(session, job_id).arguments = {"gone": 1}
    run_to_the_end(app, job_id)
    assert job(job_id).state == JobState.DEAD
    assert letters()[0].error_class == "invalid_input"


def test_a_retried_letter_is_resolved_by_its_success(app: Flask) -> None:
    job_id = enqueue("test_fail", error="TypeError")
    run_to_the_end(app, job_id)
    with transaction() as session:
        service.find_job(session, job_id).arguments = {"error": "TypeError", "until": 1}
        retry(session, letters()[0].id, by=SYSTEM, now=now())
    run_to_the_end(app, job_id)
    (letter,) = letters()
    assert (job(job_id).state, letter.resolution) == (JobState.SUCCEEDED, "resolved_by_retry")


def test_a_retried_letter_is_renewed_by_its_failure(app: Flask) -> None:
    job_id = enqueue("test_fail", error="TypeError")
    run_to_the_end(app, job_id)
    with transaction() as session:
        retry(session, letters()[0].id, by=SYSTEM, now=now())
    run_to_the_end(app, job_id)
    (letter,) = letters()
    assert (letter.retry_count, letter.resolved_at) == (1, None)


def test_a_canceled_job_stops_at_its_next_look(app: Flask) -> None:
    job_id = enqueue("test_echo", seconds=30)
    ask_to_stop_once_it_runs(app, job_id)
    assert run(app, job_id, worker="w1")
    assert job(job_id).state == JobState.CANCELED
    assert outcomes(job_id)[-1].outcome == Outcome.CANCELED


def ask_to_stop_once_it_runs(app: Flask, job_id: int) -> None:
    """Cancel the job from a thread, as soon as it runs."""

    def ask() -> None:
        deadline = time.monotonic() + 10
        with app.app_context():
            while time.monotonic() < deadline:
                if job(job_id).state == JobState.RUNNING:
                    with transaction() as session:
                        service.cancel(session, job_id, by=SYSTEM, now=now())
                    return
                time.sleep(0.02)

    threading.Thread(target=ask, daemon=True).start()


def test_an_interrupt_puts_the_job_back_without_spending_an_attempt(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = enqueue("test_echo")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    kind = _types["test_echo"]
    monkeypatch.setitem(
        _types, "test_echo", type(kind)("test_echo", interrupted, kind.arguments, "stops")
    )
    with pytest.raises(KeyboardInterrupt):
        run(app, job_id, worker="w1")
    back = job(job_id)
    assert (back.state, back.attempts, back.losses) == (JobState.QUEUED, 0, 0)
    assert [item.outcome for item in outcomes(job_id)] == [Outcome.RELEASED]


def test_a_worker_that_lost_its_job_writes_nothing(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = enqueue("test_echo", value=1)
    kind = _types["test_echo"]

    def overtaken(context: Any, arguments: Any) -> dict[str, int]:
        """Lose the lease while running, and let another worker finish first."""
        later = now() + timedelta(minutes=5)
        with transaction() as session:
            attempts.lose(session, job_id, context.claim.fence, give_up=False, now=later)
        with transaction() as session:
            other = attempts.claim(session, job_id, worker="w2", lease_seconds=30, now=later)
            assert other is not None
            attempts.succeed(session, other, result={"by": "w2"}, now=later)
        return {"value": arguments.value}

    monkeypatch.setitem(
        _types, "test_echo", type(kind)("test_echo", overtaken, kind.arguments, "late")
    )
    run(app, job_id, worker="w1")
    assert job(job_id).result == {"by": "w2"}
    assert [item.outcome for item in outcomes(job_id)] == [Outcome.LOST, Outcome.SUCCEEDED]


class Unspeakable(Exception):
    """An error that fails when it is asked what it says."""

    def __str__(self) -> str:
        raise ZeroDivisionError


ODD_ENDS: dict[str, Callable[[], object]] = {
    "exit": lambda: sys.exit(3),
    "nul": lambda: fail_with(ValueError("a\0b")),
    "surrogate": lambda: fail_with(ValueError("\ud800")),
    "unspeakable": lambda: fail_with(Unspeakable()),
    "not a number": lambda: {"x": float("nan")},
    "infinite": lambda: [float("inf")],
}


def fail_with(error: Exception) -> None:
    raise error


@pytest.mark.parametrize("name", ODD_ENDS)
def test_an_end_that_cannot_be_written_as_it_is_buries_the_job_with_the_reason(
    app: Flask, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    job_id = enqueue("test_echo")
    kind = _types["test_echo"]

    def end_oddly(context: Any, arguments: Any) -> Any:
        del context, arguments
        return ODD_ENDS[name]()

    odd = type(kind)("test_echo", end_oddly, kind.arguments, "ends oddly", kind.policy)
    monkeypatch.setitem(_types, "test_echo", odd)
    run_to_the_end(app, job_id)
    assert job(job_id).state == JobState.DEAD
    (letter,) = letters()
    assert letter.error_class == "bug"
    assert (letter.reason, letter.exception_type != "WorkerLost") == ("not_retryable", True)


def test_a_job_in_a_thread_is_told_of_its_limit_when_it_asks(app: Flask) -> None:
    job_id = enqueue("test_slow_asking")
    thread = threading.Thread(target=run, args=(app, job_id), kwargs={"worker": "w1"})
    thread.start()
    thread.join(20)
    (attempt,) = outcomes(job_id)
    assert (attempt.outcome, attempt.error_class) == (Outcome.FAILED, "timeout")
