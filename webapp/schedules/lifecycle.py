"""How a schedule stands.  Pure: a decision over facts that others have read."""

from datetime import datetime

from webapp.jobs.values import JobState
from webapp.schedules.timing import LATE
from webapp.schedules.values import FiringOutcome, ScheduleState


def state_of(
    *,
    enabled: bool,
    problem: str | None,
    next_run_at: datetime | None,
    last_outcome: str | None,
    last_job_state: str | None,
    now: datetime,
) -> ScheduleState:
    """Say how a schedule stands.

    ``problem`` is why it could not run now.  Broken comes before failing: what cannot even begin is
    mended in the schedule, what fails is mended in the job.
    """
    if not enabled:
        return ScheduleState.PAUSED
    if problem or next_run_at is None:
        return ScheduleState.BROKEN
    if last_job_state == JobState.DEAD or last_outcome == FiringOutcome.REFUSED:
        return ScheduleState.FAILING
    if now - next_run_at > LATE:
        return ScheduleState.LATE
    return ScheduleState.ACTIVE
