"""Schedules of a job that only gives its value back."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy.orm import Session

from webapp.actors import COMMAND
from webapp.schedules.models import Schedule
from webapp.schedules.service import create_schedule
from webapp.schedules.values import ScheduleDraft

NIGHTLY = ScheduleDraft(
    name="nightly", type="test_echo", arguments={"value": 7}, cron="0 6 * * *", timezone="UTC"
)

MakeSchedule = Callable[..., Schedule]


@pytest.fixture
def make(session: Session, now: datetime) -> MakeSchedule:
    """Make a schedule, the nightly one but for the fields given."""

    def make(at: datetime = now, **fields: Any) -> Schedule:
        draft = replace(NIGHTLY, **fields)
        return create_schedule(session, draft, by=COMMAND, now=at, reason="Needed")

    return make
