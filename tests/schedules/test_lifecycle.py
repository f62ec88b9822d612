"""How a schedule stands: a table."""

from datetime import datetime, timedelta

import pytest

from webapp.schedules.lifecycle import state_of

SOON, LATE = timedelta(hours=1), timedelta(minutes=-5)


@pytest.mark.parametrize(
    ("enabled", "problem", "next_in", "outcome", "job", "expected"),
    [
        (True, None, SOON, None, None, "active"),
        (True, None, SOON, "enqueued", "succeeded", "active"),
        (True, None, SOON, "enqueued", "running", "active"),
        (True, None, SOON, "skipped", None, "active"),
        (True, None, SOON, "missed", None, "active"),
        (True, None, timedelta(seconds=-30), None, None, "active"),
        (True, None, LATE, "enqueued", "succeeded", "late"),
        (True, None, SOON, "enqueued", "dead", "failing"),
        (True, None, SOON, "refused", None, "failing"),
        (True, "no such type", SOON, "enqueued", "succeeded", "broken"),
        (True, None, None, None, None, "broken"),
        (False, None, None, "enqueued", "dead", "paused"),
        (False, "no such type", None, None, None, "paused"),
    ],
)
def test_state(
    *,
    enabled: bool,
    problem: str | None,
    next_in: timedelta | None,
    outcome: str | None,
    job: str | None,
    expected: str,
    now: datetime,
) -> None:
    state = state_of(
        enabled=enabled,
        problem=problem,
        next_run_at=now + next_in if next_in else None,
        last_outcome=outcome,
        last_job_state=job,
        now=now,
    )
    assert state == expected
