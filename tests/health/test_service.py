"""What health is judged by, as the database has it."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy.orm import Session

from tests.jobs.test_figures import metric
from webapp.actors import SYSTEM
from webapp.alerts.models import Alert
from webapp.alerts.values import AlertState, Direction, Metric, Severity
from webapp.dead_letters.service import write
from webapp.dead_letters.values import Cause, Reason
from webapp.health.service import read_health, read_types
from webapp.health.values import Ended, IssueKind, Level, TypeVerdict
from webapp.jobs import control
from webapp.jobs.queries import DUE_LOOKED_AT
from webapp.jobs.rollup import HOUR
from webapp.jobs.service import enqueue
from webapp.workers.service import beat
from webapp.workers.values import WorkerIdentity

MINUTES = timedelta(minutes=1)
CAUSE = Cause(next(iter(Reason)), "server", "ValueError", "no", "")


def worker(session: Session, now: datetime, *queues: str, scheduler: bool = True) -> None:
    name = f"h:1:{'-'.join(queues) or 'all'}"
    identity = WorkerIdentity(name, "here", "h", 1, "process", 2, "0.1.0", queues, scheduler)
    beat(session, identity, now=now)


def verdict(session: Session, now: datetime, name: str = "test_echo") -> TypeVerdict:
    return read_types(session, now=now)[name]


def kinds(found: TypeVerdict) -> list[IssueKind]:
    return [issue.kind for issue in found.issues]


def test_types_that_never_ran_are_there_and_healthy(session: Session, now: datetime) -> None:
    found = verdict(session, now)
    assert (found.level, found.issues, found.evidence.last_run_ago) == (Level.HEALTHY, (), None)
    assert found.evidence.day.success_rate is None


def test_attempts_are_those_of_the_last_hour_and_day(session: Session, now: datetime) -> None:
    metric(session, now - 59 * MINUTES, type_name="test_echo", succeeded=1, failed=3, lost=2)
    metric(session, now - 60 * MINUTES, type_name="test_echo", succeeded=99)
    hour = now - 60 * MINUTES
    metric(session, hour, type_name="test_echo", seconds=HOUR, succeeded=100, failed=3, lost=2)
    for hours in (23, 24):
        at = now - timedelta(hours=hours)
        metric(session, at, type_name="test_echo", seconds=HOUR, succeeded=50)
    evidence = verdict(session, now).evidence
    assert (evidence.hour, evidence.day) == (Ended(1, 5), Ended(150, 5))
    assert evidence.last_run_ago == 59 * 60
    assert kinds(verdict(session, now)) == [IssueKind.FAILING]


def test_a_run_of_long_ago_is_told_to_the_hour(session: Session, now: datetime) -> None:
    metric(session, now - timedelta(days=40), type_name="test_echo", seconds=HOUR, succeeded=1)
    metric(session, now - timedelta(days=60), type_name="test_echo", seconds=HOUR, succeeded=1)
    assert verdict(session, now).evidence.last_run_ago == 40 * 86_400


def test_a_type_that_this_deployment_does_not_know_is_judged_too(
    session: Session, now: datetime
) -> None:
    metric(session, now, type_name="gone", seconds=HOUR, failed=9)
    assert verdict(session, now, "gone").level == Level.UNHEALTHY


def test_jobs_that_wait_too_long_are_late(session: Session, now: datetime) -> None:
    worker(session, now)
    enqueue(session, "test_echo", {}, by=SYSTEM, now=now - 15 * MINUTES)
    assert verdict(session, now).issues == ()
    worker(session, now + MINUTES)
    assert kinds(verdict(session, now + MINUTES)) == [IssueKind.LATE]
    # One that is to come is not.
    later = now + 60 * MINUTES
    enqueue(session, "test_nothing", {}, by=SYSTEM, now=now - 60 * MINUTES, run_at=later)
    assert verdict(session, now, "test_nothing").evidence.oldest_due is None


def test_jobs_that_are_held_are_not_due(session: Session, now: datetime) -> None:
    worker(session, now)
    first = enqueue(session, "test_nothing", {}, by=SYSTEM, now=now)
    long_ago = now - 60 * MINUTES
    enqueue(session, "test_echo", {}, by=SYSTEM, now=long_ago, depends_on=(first.id,))
    assert verdict(session, now).evidence.oldest_due is None


def test_what_is_paused_is_told_and_nothing_else_held_against_it(
    session: Session, now: datetime
) -> None:
    enqueue(session, "test_echo", {}, by=SYSTEM, now=now - 60 * MINUTES)
    enqueue(session, "test_nothing", {}, by=SYSTEM, now=now - 60 * MINUTES, queue="slow")
    control.pause_type(session, "test_echo", by=SYSTEM, now=now, reason="Calm")
    control.pause_queue(session, "slow", by=SYSTEM, now=now, reason="Calm")
    found = read_types(session, now=now)
    assert [issue.words for issue in found["test_echo"].issues] == ["The type is paused."]
    assert [issue.words for issue in found["test_nothing"].issues] == ["The queue slow is paused."]


@pytest.mark.parametrize(
    ("queues", "served"),
    [([], False), ([("fast",)], False), ([("fast",), ("slow", "other")], True), ([()], True)],
)
def test_due_jobs_that_no_living_worker_takes_are_critical(
    session: Session, now: datetime, queues: list[tuple[str, ...]], served: bool
) -> None:
    for names in queues:
        worker(session, now, *names)
    # It would, were it alive.
    worker(session, now - 2 * MINUTES, "slow")
    enqueue(session, "test_echo", {}, by=SYSTEM, now=now, queue="slow")
    found = verdict(session, now)
    assert (found.level == Level.HEALTHY) is served
    assert list(found.evidence.unserved) == ([] if served else ["slow"])


def test_the_jobs_that_are_due_longest_are_looked_at(
    session: Session, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webapp.jobs.queries.DUE_LOOKED_AT", 2)
    assert DUE_LOOKED_AT > 100
    for age in (9, 8, 7):
        enqueue(session, "test_echo", {}, by=SYSTEM, now=now - age * MINUTES)
    enqueue(session, "test_nothing", {}, by=SYSTEM, now=now)
    found = read_types(session, now=now)
    assert found["test_echo"].evidence.oldest_due == 9 * 60
    assert found["test_nothing"].evidence.oldest_due is None


def test_the_whole_is_as_its_worst_part(session: Session, now: datetime) -> None:
    assert read_health(session, now=now).assessment.reasons == ("No worker is alive: jobs wait.",)
    worker(session, now, scheduler=False)
    worker(session, now, "slow", scheduler=False)
    report = read_health(session, now=now)
    assert report.assessment.level == Level.UNHEALTHY
    assert (report.signs.workers_alive, report.signs.schedulers_alive) == (2, 0)
    worker(session, now, "fast")
    assert read_health(session, now=now).assessment.level == Level.HEALTHY
    job = enqueue(session, "test_echo", {}, by=SYSTEM, now=now)
    write(session, job.id, CAUSE, now=now)
    report = read_health(session, now=now)
    assert report.assessment.reasons == ("1 dead letter is open.",)
    assert report.assessment.level == Level.DEGRADED
    assert kinds(verdict(session, now)) == [IssueKind.DEAD_LETTERS]


def test_where_there_are_to_be_no_workers_none_is_missed(session: Session, now: datetime) -> None:
    enqueue(session, "test_echo", {}, by=SYSTEM, now=now - 2 * MINUTES)
    assert kinds(verdict(session, now)) == [IssueKind.UNSERVED]
    report = read_health(session, now=now, has_workers=False)
    assert (report.assessment.level, report.assessment.reasons) == (Level.HEALTHY, ())
    assert read_types(session, now=now, has_workers=False)["test_echo"].issues == ()
    # A job that waits for too long does so whoever is to run it.
    late = read_types(session, now=now + 14 * MINUTES, has_workers=False)["test_echo"]
    assert kinds(late) == [IssueKind.LATE]


def test_alerts_that_fire_count_beside_the_rest(session: Session, now: datetime) -> None:
    worker(session, now)
    for state, fired_at in ((AlertState.FIRING, now), (AlertState.RESOLVED, now - MINUTES)):
        session.add(
            Alert(
                key=f"{Metric.BREAKER_OPEN}:shop",
                metric=Metric.BREAKER_OPEN,
                label="shop",
                state=state,
                severity=Severity.CRITICAL,
                rule="breaker-open",
                value=1.0,
                comparison=Direction.ABOVE,
                threshold=0.0,
                holding={},
                began_at=fired_at,
                fired_at=fired_at,
                told=False,
                told_channels=[],
            )
        )
    report = read_health(session, now=now)
    (alert,) = report.assessment.alerts
    assert (alert.severity, alert.since) == (Severity.CRITICAL, now)
    assert "shop" in alert.name
    assert report.assessment.level == Level.CRITICAL
    assert [view.label for view in report.alerts] == ["shop"]
