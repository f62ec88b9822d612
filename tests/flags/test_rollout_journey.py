"""A rollout that watches itself to its last step: a real ledger, and a clock of the test's own."""

from collections.abc import Iterator
from datetime import datetime, timedelta, tzinfo
from typing import cast

import pytest
from flask import Flask
from sqlalchemy import func, select

from tasks.alerts import evaluate_alerts
from tasks.figures import roll_up_figures
from tasks.flags import check_guards, step_rollouts
from tasks.work import work
from webapp import clock
from webapp.actors import COMMAND, Actor
from webapp.alerts.models import Alert, AlertReport, AlertRule
from webapp.alerts.service import create_rule
from webapp.alerts.values import Metric, RuleDraft, Severity
from webapp.audit.service import history
from webapp.audit.values import Entry
from webapp.db import reading, transaction
from webapp.flags import is_enabled
from webapp.flags.models import FeatureFlag
from webapp.flags.queries import get_flag
from webapp.flags.rollouts import RESUME, move_by_hand
from webapp.flags.service import create_flag
from webapp.flags.values import FlagDraft, GuardMetric, PlanStep, RolloutGuard
from webapp.jobs.models import JobAttempt
from webapp.jobs.registry import JobArguments, Result, job
from webapp.jobs.service import enqueue
from webapp.jobs.values import JobContext, RetryPolicy

NAME = "checkout.express"
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


class PayArguments(JobArguments):
    """Whose order is paid."""

    customer: str


class NewPath:
    """The code behind the flag; it works until somebody breaks it."""

    broken = False


@job("test_pay", PayArguments, policy=RetryPolicy(max_retries=0))
def pay(context: JobContext, arguments: PayArguments) -> Result:
    """Take the new path for whom the flag is on, the old one for the others."""
    del context
    new = is_enabled(NAME, arguments.customer)
    if new and NewPath.broken:
        message = "the new path does not know this currency"
        raise KeyError(message)
    return {"new": new}


class Clock:
    """A clock that stands where it was set."""

    def __init__(self, now: datetime) -> None:
        self.now = now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch, now: datetime) -> Clock:
    """The program's clock, in a test's hands."""
    standing = Clock(now)

    class Standing(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return standing.now.astimezone(tz)

    monkeypatch.setattr(clock, "datetime", Standing)
    return standing


@pytest.fixture(autouse=True)
def in_app(app: Flask) -> Iterator[None]:
    """Every part of the journey has sessions of its own."""
    NewPath.broken = False
    with app.app_context():
        yield


def beat(app: Flask, time: Clock) -> None:
    """Do what a consumer's beat does of all this, in its order."""
    roll_up_figures(app, time.now)
    check_guards(app, time.now)
    step_rollouts(time.now)
    evaluate_alerts(app, time.now)


def pay_for(app: Flask, time: Clock, customers: list[str]) -> None:
    """Have these customers order, in the first half of this minute, and a worker do the work."""
    with transaction() as session:
        for customer in customers:
            last = enqueue(session, "test_pay", {"customer": customer}, by=COMMAND, now=time.now).id
    time.now += timedelta(seconds=30)
    work(app, last, worker="w", stopping=lambda: False)
    time.now += timedelta(seconds=30)


def flag() -> FeatureFlag:
    with reading() as session:
        return get_flag(session, NAME)


def entries() -> list[Entry]:
    with reading() as session:
        return history(session, "flag", NAME, 10)


def customers(on: int, off: int) -> list[str]:
    """Return so many for whom the flag is on now, and off."""
    names = [f"customer-{number}" for number in range(4_000)]
    having = [name for name in names if is_enabled(NAME, name)]
    lacking = [name for name in names if not is_enabled(NAME, name)]
    return having[:on] + lacking[:off]


def test_a_rollout_that_begins_to_do_harm_is_set_back_and_goes_on_when_it_is_mended(
    app: Flask, time: Clock
) -> None:
    start = time.now
    draft = FlagDraft(
        name=NAME,
        enabled=True,
        rollout_plan=tuple(
            PlanStep(at=start + days * DAY, percentage=share)
            for days, share in ((0, 2.0), (1, 5.0), (2, 100.0))
        ),
        guards=(
            RolloutGuard(
                name="payments", metric=GuardMetric.JOB_COMPARISON, scope="test_pay", min_sample=10
            ),
        ),
    )
    with transaction() as session:
        session.query(AlertRule).delete()
        rule = RuleDraft(
            name="rolled-back",
            metric=Metric.ROLLOUT_ROLLED_BACK,
            threshold=0,
            severity=Severity.ERROR,
        )
        create_rule(session, rule, by=COMMAND, now=time.now, reason="Tell us")
        create_flag(session, draft, by=Actor("user", "ada"), now=time.now, reason="Go")
    beat(app, time)
    time.now += DAY
    beat(app, time)
    assert flag().percentage == 5

    # All is well, on both paths.
    beat(app, time)
    pay_for(app, time, customers(on=10, off=30))
    beat(app, time)
    assert (flag().percentage, flag().rollout_state) == (5, "running")

    # The new path begins to fail; a minute later the flag is a step back.
    NewPath.broken = True
    pay_for(app, time, customers(on=10, off=30))
    beat(app, time)
    harmed = flag()
    assert (harmed.percentage, harmed.rollout_state) == (2, "rolled_back")
    assert harmed.rollout_since == time.now
    (entry,) = [item for item in entries() if item.action == "flag.rollout_rolled_back"]
    assert (entry.actor, entry.at) == ("guard", time.now)
    assert "10 of 20 (50.0 %) failed with the flag on, 0 of 60 (0.0 %) with it off" in entry.reason
    with reading() as session:
        seen = select(func.count()).where(JobAttempt.flags_seen.is_not(None))
        assert session.scalar(seen.select_from(JobAttempt)) == 80
        (report,) = session.scalars(select(AlertReport))
        (alert,) = session.scalars(select(Alert))
    assert (report.label, report.at, alert.state) == (NAME, time.now, "firing")
    (evidence,) = cast("list[dict[str, object]]", report.facts["evidence"])
    assert (evidence["on"], evidence["off"]) == ([10, 20], [0, 60])

    # Nothing moves until somebody has mended it and says so.
    for _ in range(3):
        time.now += DAY
        beat(app, time)
    assert flag().percentage == 2
    NewPath.broken = False
    with transaction() as session:
        move_by_hand(session, NAME, RESUME, by=Actor("user", "ada"), now=time.now, reason="Mended")
    beat(app, time)
    assert flag().percentage == 5
    time.now += MINUTE
    pay_for(app, time, customers(on=10, off=30))
    beat(app, time)
    assert flag().percentage == 5
    time.now += DAY
    beat(app, time)
    done = flag()
    assert (done.percentage, done.rollout_state, done.rollout_next_at) == (100, "completed", None)
    with reading() as session:
        assert session.scalar(select(func.count()).select_from(AlertReport)) == 1
