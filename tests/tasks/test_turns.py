"""A worker that runs several jobs in one turn: their order, and what waits behind a slow one."""

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, update

from tasks.runner import _seen
from tasks.work import work
from webapp.actors import SYSTEM
from webapp.clock import now
from webapp.db import reading, transaction
from webapp.jobs import attempts, control, service
from webapp.jobs.dispatch import anything_due
from webapp.jobs.models import Job, JobAttempt
from webapp.jobs.registry import _types
from webapp.jobs.steering import read_steering
from webapp.jobs.values import JobState, Outcome


@pytest.fixture(autouse=True)
def in_app(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Sessions of our own, in a process that knows how quick an echo is."""
    monkeypatch.setitem(_seen, "test_echo", 0.0001)
    with app.app_context():
        yield


def enqueue(priority: int = 50, type_name: str = "test_echo", **arguments: Any) -> int:
    with transaction() as session:
        return service.enqueue(
            session, type_name, arguments, by=SYSTEM, now=now(), priority=priority
        ).id


def job(job_id: int) -> Job:
    with reading() as session:
        return service.find_job(session, job_id)


def outcomes(job_id: int) -> list[str]:
    with reading() as session:
        found = select(JobAttempt.outcome).where(JobAttempt.job_id == job_id)
        return list(session.scalars(found.order_by(JobAttempt.fence)))


def replace(monkeypatch: pytest.MonkeyPatch, function: Any) -> None:
    """Let an echo do something else."""
    kind = _types["test_echo"]
    odd = type(kind)("test_echo", function, kind.arguments, "odd", kind.policy)
    monkeypatch.setitem(_types, "test_echo", odd)


def look(app: Flask, job_id: int, after: int = 1_000) -> None:
    """Let a worker look at a job; it is told to stop after so many more looks of its own."""
    left = iter([False] * after)
    work(app, job_id, worker="w1", stopping=lambda: next(left, True))


def test_one_message_runs_all_that_is_queued_the_most_urgent_first(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[int] = []
    replace(monkeypatch, lambda context, arguments: ran.append(context.claim.job_id))
    jobs = {priority: enqueue(priority) for priority in (10, 90, 50)}
    more = [enqueue(50) for _ in range(40)]
    look(app, jobs[10])
    assert ran == [jobs[90], jobs[50], *more, jobs[10]]
    assert {job(job_id).state for job_id in ran} == {JobState.SUCCEEDED}


def test_every_end_is_written_by_the_time_a_turn_is_over(app: Flask) -> None:
    jobs = [enqueue(value=number) for number in range(5)]
    look(app, jobs[0])
    for number, job_id in enumerate(jobs):
        done = job(job_id)
        assert (done.state, done.result) == (JobState.SUCCEEDED, {"value": number})
        assert done.started_at is not None
        assert outcomes(job_id) == [Outcome.SUCCEEDED]


def test_what_waits_behind_a_job_that_takes_long_goes_back_and_its_wish_to_stop_is_kept(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[int] = []
    slow, waits, unwanted = (enqueue() for _ in range(3))

    def hang(context: Any, arguments: Any) -> None:
        """Run until those behind are given back, as another worker would see it."""
        ran.append(context.claim.job_id)
        if context.claim.job_id != slow:
            return
        assert {job(item).state for item in (waits, unwanted)} == {JobState.RUNNING}
        with transaction() as session:
            service.cancel(session, unwanted, by=SYSTEM, now=now())
        deadline = time.monotonic() + 10
        while job(waits).state == JobState.RUNNING and time.monotonic() < deadline:
            time.sleep(0.02)
        assert (job(waits).state, job(waits).attempts) == (JobState.QUEUED, 0)

    replace(monkeypatch, hang)
    look(app, slow, after=1)
    assert (ran, job(slow).state) == ([slow], JobState.SUCCEEDED)
    assert (job(unwanted).state, outcomes(unwanted)) == (JobState.CANCELED, [Outcome.RELEASED])
    assert outcomes(waits) == [Outcome.RELEASED]


def test_an_end_does_not_wait_for_a_job_behind_it_that_takes_long(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = enqueue(), enqueue()

    def hang(context: Any, arguments: Any) -> None:
        deadline = time.monotonic() + 10
        if context.claim.job_id == second:
            while job(first).state == JobState.RUNNING and time.monotonic() < deadline:
                time.sleep(0.02)
            assert job(first).state == JobState.SUCCEEDED

    replace(monkeypatch, hang)
    look(app, first)
    assert job(second).state == JobState.SUCCEEDED


def test_a_failure_in_the_middle_is_settled_as_if_it_had_been_claimed_alone(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [enqueue() for _ in range(3)]

    def fail_second(context: Any, arguments: Any) -> None:
        if context.claim.job_id == jobs[1]:
            raise ConnectionError("refused")

    replace(monkeypatch, fail_second)
    look(app, jobs[0])
    states = [job(job_id).state for job_id in jobs]
    assert states == [JobState.SUCCEEDED, JobState.RETRYING, JobState.SUCCEEDED]
    assert (job(jobs[1]).attempts, outcomes(jobs[1])) == (1, [Outcome.FAILED])
    assert job(jobs[1]).started_at is not None


def test_a_job_that_was_lost_meanwhile_costs_the_others_of_its_turn_nothing(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, lost, last = (enqueue() for _ in range(3))

    def overtaken(context: Any, arguments: Any) -> None:
        if context.claim.job_id == lost:
            with transaction() as session:
                attempts.put_back(session, lost, context.claim.fence, now=now())
                other = attempts.claim(session, lost, worker="w2", lease_seconds=30, now=now())
            assert other is not None

    replace(monkeypatch, overtaken)
    look(app, first)
    assert {job(item).state for item in (first, last)} == {JobState.SUCCEEDED}
    assert (job(lost).state, job(lost).worker) == (JobState.RUNNING, "w2")


def test_a_worker_that_is_told_to_stop_gives_back_what_it_has_not_begun(app: Flask) -> None:
    first, second = enqueue(), enqueue()
    look(app, first, after=0)
    assert job(first).state == JobState.SUCCEEDED
    assert (job(second).state, outcomes(second)) == (JobState.QUEUED, [Outcome.RELEASED])


def test_an_interrupt_writes_what_is_done_and_puts_back_the_rest(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    done, interrupted, waits = (enqueue() for _ in range(3))

    def interrupt(context: Any, arguments: Any) -> None:
        if context.claim.job_id == interrupted:
            raise KeyboardInterrupt

    replace(monkeypatch, interrupt)
    with pytest.raises(KeyboardInterrupt):
        look(app, done)
    assert job(done).state == JobState.SUCCEEDED
    for job_id in (interrupted, waits):
        back = job(job_id)
        assert (back.state, back.attempts, back.losses) == (JobState.QUEUED, 0, 0)
        assert outcomes(job_id) == [Outcome.RELEASED]


def test_a_message_about_a_job_that_is_over_or_gone_is_harmless(app: Flask) -> None:
    done = enqueue()
    look(app, done)
    look(app, done)
    look(app, 999_999)
    assert outcomes(done) == [Outcome.SUCCEEDED]


def test_a_message_about_a_type_that_this_worker_does_not_know_leaves_it_to_others(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    unknown = enqueue(type_name="test_defer")
    monkeypatch.delitem(_types, "test_defer")
    known = enqueue()
    look(app, unknown)
    assert job(known).state == JobState.SUCCEEDED
    assert (job(unknown).state, job(unknown).deferrals) == (JobState.RETRYING, 1)


def test_what_is_paused_is_left_and_begins_once_it_is_resumed(app: Flask) -> None:
    mail, held, free = enqueue(), enqueue(), enqueue()
    with transaction() as session:
        session.execute(update(Job).where(Job.id == mail).values(queue="mail"))
        session.execute(update(Job).where(Job.id == held).values(type="test_fail"))
        control.pause_queue(session, "mail", by=SYSTEM, now=now())
        control.pause_type(session, "test_fail", by=SYSTEM, now=now())
    for job_id in (mail, held, free):
        look(app, job_id)
    states = [job(job_id).state for job_id in (mail, held, free)]
    assert states == [JobState.QUEUED, JobState.QUEUED, JobState.SUCCEEDED]
    with reading() as session:
        steering = read_steering(session)
        assert not anything_due(session, now=now() + timedelta(hours=1), steering=steering)
    with transaction() as session:
        control.resume_queue(session, "mail", by=SYSTEM, now=now())
    # Workers look once a second.
    deadline = time.monotonic() + 10
    while job(mail).state == JobState.QUEUED and time.monotonic() < deadline:
        time.sleep(0.05)
        look(app, mail)
    assert (job(mail).state, job(held).state) == (JobState.SUCCEEDED, JobState.QUEUED)


def test_a_policy_that_was_set_holds_for_the_next_attempt(app: Flask) -> None:
    with transaction() as session:
        draft = control.PolicyDraft(max_retries=0)
        control.set_policy(session, "test_fail", draft, version=0, by=SYSTEM, now=now())
        failing = service.enqueue(session, "test_fail", {}, by=SYSTEM, now=now()).id
    look(app, failing)
    assert (job(failing).state, job(failing).attempts) == (JobState.DEAD, 1)
