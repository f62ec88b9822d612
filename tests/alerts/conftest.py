"""Rules, readings and channels for tests of alerts; each begins without the rules that it ships."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete
from sqlalchemy.orm import Session

from tests.conftest import SECRET
from webapp.actors import COMMAND
from webapp.alerts import service
from webapp.alerts.models import AlertRule
from webapp.alerts.values import Metric, RuleDraft, Severity
from webapp.channels.service import create_channel
from webapp.channels.values import ChannelDraft
from webapp.jobs.models import JobMetric

WARN = RuleDraft(
    name="warn", metric=Metric.JOB_FAILURE_RATE, threshold=20, severity=Severity.WARNING
)

MakeRule = Callable[..., AlertRule]
MakeChannel = Callable[..., str]
AddRuns = Callable[..., None]


@pytest.fixture
def no_rules(session: Session) -> None:
    """No rules but those of a test, also in the first test after the migrations."""
    session.execute(delete(AlertRule))
    session.commit()


@pytest.fixture
def make(no_rules: None, session: Session, now: datetime) -> MakeRule:
    """Make a rule, the warning about failing jobs but for the fields given."""

    def make(**fields: Any) -> AlertRule:
        draft = replace(WARN, **fields)
        return service.create_rule(session, draft, by=COMMAND, now=now, reason="Needed")

    return make


@pytest.fixture
def channel(session: Session, now: datetime) -> MakeChannel:
    """Make a channel, a web hook on this machine where no address is given."""

    def channel(name: str, url: str = "json://hooks.example.com/a") -> str:
        draft = ChannelDraft(name=name, url=url)
        create_channel(session, draft, secret_key=SECRET, by=COMMAND, now=now, reason="Needed")
        return name

    return channel


@pytest.fixture
def runs(session: Session, now: datetime) -> AddRuns:
    """Have so many runs of a type ended well and badly, so many minutes ago."""

    def runs(
        good: int, bad: int, *, minutes: int = 5, type_name: str = "etl", seconds: int = 60
    ) -> None:
        moment = now - timedelta(minutes=minutes)
        numbers = dict.fromkeys(("retried", "dead", "deferred", "lost", "canceled"), 0)
        session.add(
            JobMetric(
                type=type_name,
                seconds=seconds,
                at=moment.replace(second=0, microsecond=0),
                runs=good + bad,
                succeeded=good,
                failed=bad,
                run_buckets=[],
                wait_buckets=[],
                **numbers,
            )
        )
        session.flush()

    return runs
