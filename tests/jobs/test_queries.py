"""What the ledger is asked for figures."""

from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from webapp.actors import SYSTEM
from webapp.jobs import service
from webapp.jobs.queries import queue_figures
from webapp.jobs.values import JobState


def test_the_queue_is_as_old_as_what_was_due_first_in_whatever_state_it_waits(
    session: Session, now: datetime
) -> None:
    assert queue_figures(session, now=now).oldest_seconds is None
    ages = dict(zip(sorted(JobState), range(10, 1_000, 10), strict=False))
    for state, seconds in ages.items():
        job = service.enqueue(session, "test_echo", {}, by=SYSTEM, now=now)
        job.state, job.run_at = state, now - timedelta(seconds=seconds)
    # What waits for another job is not due, however long, and nor is what is to come.
    first = service.enqueue(session, "test_echo", {}, by=SYSTEM, now=now)
    held = service.enqueue(session, "test_echo", {}, by=SYSTEM, now=now, depends_on=[first.id])
    held.run_at = now - timedelta(hours=1)
    later = service.enqueue(session, "test_echo", {}, by=SYSTEM, now=now)
    later.state, later.run_at = JobState.SCHEDULED, now + timedelta(hours=1)
    session.flush()

    figures = queue_figures(session, now=now)
    waiting = {JobState.QUEUED, JobState.SCHEDULED, JobState.RETRYING}
    assert figures.oldest_seconds == max(ages[state] for state in waiting)
    assert (figures.waiting, figures.running, figures.retrying) == (2, 1, 1)
