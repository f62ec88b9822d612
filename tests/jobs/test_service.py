"""Taking, cancelling and retrying jobs."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from webapp.actors import SYSTEM, Actor
from webapp.audit.service import history
from webapp.errors import Conflict, Invalid, NotFound
from webapp.jobs import attempts, service
from webapp.jobs.models import Job
from webapp.jobs.values import Claim, JobState, LeaseLost

MIRA = Actor("user", "mira")


def enqueue(session: Session, now: datetime, **options: Any) -> Job:
    arguments = options.pop("arguments", {"value": 7})
    return service.enqueue(session, "test_echo", arguments, by=SYSTEM, now=now, **options)


def claim(session: Session, job: Job, now: datetime) -> Claim:
    held = attempts.claim(session, job.id, worker="w1", lease_seconds=30, now=now)
    assert held is not None
    return held


def test_a_due_job_is_queued_with_its_whole_arguments(session: Session, now: datetime) -> None:
    job = enqueue(session, now)
    assert (job.state, job.run_at, job.arguments) == (
        JobState.QUEUED,
        now,
        {"value": 7, "seconds": 0.0},
    )


def test_a_job_for_later_is_scheduled(session: Session, now: datetime) -> None:
    job = enqueue(session, now, run_at=now + timedelta(hours=1))
    assert job.state == JobState.SCHEDULED


@pytest.mark.parametrize(
    ("arguments", "field"), [({"value": "x"}, "value"), ({"other": 1}, "other")]
)
def test_arguments_that_do_not_fit_are_refused_by_name(
    session: Session, now: datetime, arguments: dict[str, Any], field: str
) -> None:
    with pytest.raises(Invalid) as refusal:
        enqueue(session, now, arguments=arguments)
    assert field in refusal.value.errors
    assert session.scalar(select(func.count()).select_from(Job)) == 0


def test_an_unknown_type_is_refused(session: Session, now: datetime) -> None:
    with pytest.raises(NotFound):
        service.enqueue(session, "no_such_type", {}, by=SYSTEM, now=now)


def test_a_unique_key_returns_the_job_that_stands(session: Session, now: datetime) -> None:
    first = enqueue(session, now, unique_key="k")
    assert enqueue(session, now, unique_key="k").id == first.id
    assert enqueue(session, now, unique_key="other").id != first.id


def test_a_unique_key_is_free_again_after_the_end(session: Session, now: datetime) -> None:
    first = enqueue(session, now, unique_key="k")
    attempts.succeed(session, claim(session, first, now), result=None, now=now)
    assert enqueue(session, now, unique_key="k").id != first.id


def test_who_enqueues_by_hand_is_audited_and_a_program_is_not(
    session: Session, now: datetime
) -> None:
    by_hand = service.enqueue(session, "test_echo", {}, by=MIRA, now=now)
    by_program = enqueue(session, now)
    session.flush()
    assert [entry.actor for entry in history(session, "job", str(by_hand.id))] == ["mira"]
    assert history(session, "job", str(by_program.id)) == []


def test_a_waiting_job_is_canceled_at_once(session: Session, now: datetime) -> None:
    job = service.cancel(session, enqueue(session, now).id, by=MIRA, now=now)
    assert (job.state, job.finished_at) == (JobState.CANCELED, now)


def test_a_running_job_is_asked_to_stop(session: Session, now: datetime) -> None:
    job = enqueue(session, now)
    held = claim(session, job, now)
    service.cancel(session, job.id, by=MIRA, now=now)
    assert attempts.look(session, held).cancelled
    assert attempts.stop(session, held, now=now)
    assert service.find_job(session, job.id).state == JobState.CANCELED


def test_an_ended_job_cannot_be_canceled(session: Session, now: datetime) -> None:
    job = enqueue(session, now)
    attempts.succeed(session, claim(session, job, now), result=None, now=now)
    with pytest.raises(Conflict, match="succeeded"):
        service.cancel(session, job.id, by=MIRA, now=now)


def test_a_canceled_job_can_be_run_again(session: Session, now: datetime) -> None:
    job = service.cancel(session, enqueue(session, now).id, by=MIRA, now=now)
    later = now + timedelta(minutes=1)
    again = service.retry(session, job.id, by=MIRA, now=later)
    assert (again.state, again.run_at, again.finished_at) == (JobState.QUEUED, later, None)


def test_a_canceled_job_can_be_run_again_later(session: Session, now: datetime) -> None:
    job = service.cancel(session, enqueue(session, now).id, by=MIRA, now=now)
    later = now + timedelta(minutes=1)
    again = service.retry(session, job.id, by=MIRA, now=now, run_at=later)
    assert (again.state, again.run_at, again.dispatched_at) == (JobState.SCHEDULED, later, None)


def test_other_arguments_are_checked_audited_and_begin_anew(
    session: Session, now: datetime
) -> None:
    job = enqueue(session, now)
    service.save_checkpoint(session, claim(session, job, now), {"offset": 1})
    attempts.put_back(session, job.id, 1, now=now)
    service.cancel(session, job.id, by=MIRA, now=now)
    with pytest.raises(Invalid, match="value"):
        service.retry(session, job.id, by=MIRA, now=now, arguments={"value": "x"})
    great = 2**80 + 1
    again = service.retry(session, job.id, by=MIRA, now=now, arguments={"value": great})
    assert (again.arguments["value"], again.checkpoint) == (great, None)
    (change,) = history(session, "job", str(job.id))[0].changes
    assert (change.old["value"], change.new["value"]) == (7, great)


def test_the_same_arguments_keep_the_checkpoint(session: Session, now: datetime) -> None:
    job = enqueue(session, now)
    service.save_checkpoint(session, claim(session, job, now), {"offset": 1})
    attempts.put_back(session, job.id, 1, now=now)
    service.cancel(session, job.id, by=MIRA, now=now)
    again = service.retry(session, job.id, by=MIRA, now=now, arguments={"value": 7})
    assert again.checkpoint == {"offset": 1}
    assert history(session, "job", str(job.id))[0].changes == ()


def test_a_scheduled_job_can_be_run_now(session: Session, now: datetime) -> None:
    job = enqueue(session, now, run_at=now + timedelta(hours=1))
    assert service.retry(session, job.id, by=MIRA, now=now).state == JobState.QUEUED


def test_a_succeeded_job_is_not_retried(session: Session, now: datetime) -> None:
    job = enqueue(session, now)
    attempts.succeed(session, claim(session, job, now), result=None, now=now)
    with pytest.raises(Conflict, match="succeeded"):
        service.retry(session, job.id, by=MIRA, now=now)


def test_a_refused_retry_names_the_unique_key(session: Session, now: datetime) -> None:
    job = service.cancel(session, enqueue(session, now, unique_key="k").id, by=MIRA, now=now)
    enqueue(session, now, unique_key="k")
    with pytest.raises(Conflict, match="'k'"):
        service.retry(session, job.id, by=MIRA, now=now)


def test_a_checkpoint_is_refused_to_a_worker_that_lost_the_job(
    session: Session, now: datetime
) -> None:
    job = enqueue(session, now)
    old = claim(session, job, now)
    service.save_checkpoint(session, old, {"offset": 1})
    later = now + timedelta(seconds=31)
    assert attempts.lose(session, job.id, old.fence, give_up=False, now=later)
    new = claim(session, job, later)
    with pytest.raises(LeaseLost):
        service.save_checkpoint(session, old, {"offset": 2})
    service.save_checkpoint(session, new, {"offset": 3})
    assert service.find_job(session, job.id).checkpoint == {"offset": 3}
    assert new.checkpoint == {"offset": 1}
