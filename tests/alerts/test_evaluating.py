"""What is measured becomes alerts and messages: each metric, by a clock of the test's own."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from tests.alerts.conftest import AddRuns, MakeChannel, MakeRule
from webapp.actors import COMMAND, Actor
from webapp.alerts import service
from webapp.alerts.evaluating import Evaluation, evaluate, is_due
from webapp.alerts.measuring import measure
from webapp.alerts.models import Alert, AlertRule, AlertTransition
from webapp.alerts.reporting import report
from webapp.alerts.values import (
    AlertEvent,
    AlertState,
    Direction,
    Metric,
    Mute,
    Severity,
    SilenceDraft,
    Telling,
)
from webapp.breakers.models import CircuitBreakerState, CircuitBreakerUse
from webapp.channels.service import change_channel, remove_channel
from webapp.channels.values import ChannelDraft
from webapp.dead_letters.service import write
from webapp.dead_letters.values import Cause, Reason
from webapp.idempotency.models import IdempotencyKey
from webapp.jobs.models import Job, JobMetric
from webapp.jobs.service import enqueue, find_job
from webapp.sources.models import EtlRun
from webapp.sources.service import create_source
from webapp.workers.models import Worker
from webapp.workers.service import beat, farewell
from webapp.workers.values import WorkerIdentity

ANNA = Actor("user", "anna")
MINUTE = timedelta(minutes=1)
URL = "https://console.example.com"


class Clock:
    """Evaluates minute after minute."""

    def __init__(self, session: Session, now: datetime, *, has_workers: bool = True) -> None:
        self.session = session
        self.now = now
        self.has_workers = has_workers

    def tick(self, minutes: int = 1) -> Evaluation:
        """Evaluate, and go on by so many minutes."""
        measured = measure(self.session, now=self.now, has_workers=self.has_workers)
        done = evaluate(self.session, measured, now=self.now, console_url=URL)
        assert done is not None
        self.now += minutes * MINUTE
        return done

    def told(self, minutes: int = 1) -> list[dict[str, Any]]:
        """Evaluate, and return what is sent."""
        jobs = self.tick(minutes).jobs
        return [find_job(self.session, job_id).arguments for job_id in jobs]


@pytest.fixture
def clock(session: Session, now: datetime) -> Clock:
    return Clock(session, now)


def alerts(session: Session) -> list[Alert]:
    return list(session.scalars(select(Alert).order_by(Alert.id)))


def only_alert(session: Session) -> Alert:
    (alert,) = alerts(session)
    return alert


def events(session: Session) -> list[str]:
    rows = session.scalars(select(AlertTransition).order_by(AlertTransition.id))
    return [row.event for row in rows]


def open_breaker(session: Session, name: str, now: datetime, state: str = "open") -> None:
    session.merge(
        CircuitBreakerState(
            name=name,
            state=state,
            opened_at=now if state == "open" else None,
            open_until=now + timedelta(days=1) if state == "open" else None,
            open_seconds=86_400.0,
            failures=5,
            failure_threshold=5,
            updated_at=now,
            version=1,
        )
    )
    session.flush()


def bury(session: Session, number: int, now: datetime) -> list[int]:
    cause = Cause(
        reason=Reason.NOT_RETRYABLE,
        error_class="bug",
        exception_type="TypeError",
        message="no",
        traceback="Traceback",
    )
    ids = []
    for _ in range(number):
        job = enqueue(session, "test_echo", {}, by=COMMAND, now=now)
        session.execute(update(Job).where(Job.id == job.id).values(state="dead"))
        write(session, job.id, cause, now=now)
        ids.append(job.id)
    return ids


def test_a_type_that_fails_is_told_with_its_figures_and_its_end_too(
    session: Session, clock: Clock, make: MakeRule, channel: MakeChannel, runs: AddRuns
) -> None:
    make(channels=[channel("ops")])
    runs(4, 4)
    runs(9, 1, type_name="report")
    (message,) = clock.told()
    assert message["title"] == "[warning] Failure rate of a job type: etl"
    assert message["body"].splitlines() == [
        "50 % of 8 failed; by the rule warn, which holds above 20 %.",
        "Since 2026-11-22 12:00 UTC.",
        "Key: job_failure_rate:etl",
    ]
    alert = only_alert(session)
    assert message["link"] == f"{URL}/alerts/{alert.id}"
    assert (message["kind"], message["channel"]) == ("warning", "ops")
    assert (alert.key, alert.state, alert.severity) == (
        "job_failure_rate:etl",
        AlertState.FIRING,
        Severity.WARNING,
    )
    assert (alert.value, alert.sample, alert.threshold) == (50.0, 8, 20.0)
    assert clock.told() == []
    runs(40, 0, minutes=1)
    (message,) = clock.told()
    assert message["title"] == "[over] Failure rate of a job type: etl"
    assert message["kind"] == "success"
    assert "8.3 % of 48" in message["body"]
    assert events(session) == [AlertEvent.FIRED, AlertEvent.RESOLVED]
    assert only_alert(session).ended_at == clock.now - MINUTE


def test_too_few_runs_and_old_ones_are_no_alert(
    session: Session, clock: Clock, make: MakeRule, runs: AddRuns
) -> None:
    make()
    runs(0, 4)
    runs(0, 100, minutes=70, type_name="report")
    clock.tick()
    assert alerts(session) == []


def test_two_rules_of_one_thing_are_one_alert_that_gets_worse(
    session: Session, clock: Clock, make: MakeRule, channel: MakeChannel, runs: AddRuns
) -> None:
    make(channels=[channel("ops")])
    make(name="bad", threshold=50, severity=Severity.ERROR, channels=[channel("pager")])
    runs(5, 5)
    assert [item["channel"] for item in clock.told()] == ["ops"]
    runs(0, 2, minutes=2)
    told = clock.told()
    assert [item["channel"] for item in told] == ["ops", "pager"]
    assert {item["title"] for item in told} == {
        "[error, was warning] Failure rate of a job type: etl"
    }
    alert = only_alert(session)
    assert (alert.severity, alert.rule) == (Severity.ERROR, "bad")
    assert events(session) == [AlertEvent.FIRED, AlertEvent.ROSE]


def test_a_scope_narrows_a_rule_to_one_thing(
    session: Session, clock: Clock, make: MakeRule, runs: AddRuns
) -> None:
    make(scope="report")
    runs(0, 9)
    runs(0, 9, type_name="report")
    clock.tick()
    assert only_alert(session).label == "report"


def test_a_window_of_days_looks_at_hours(
    session: Session, clock: Clock, make: MakeRule, runs: AddRuns
) -> None:
    make(window_seconds=2 * 86_400)
    runs(0, 9, minutes=40 * 60, seconds=3600)
    clock.tick()
    assert only_alert(session).sample == 9


def test_each_open_breaker_is_an_alert_of_its_own_until_it_is_closed(
    session: Session, clock: Clock, make: MakeRule
) -> None:
    make(metric=Metric.BREAKER_OPEN, threshold=0, severity=Severity.CRITICAL)
    for name, state in (("billing", "open"), ("mail", "half_open"), ("maps", "closed")):
        open_breaker(session, name, clock.now, state)
    clock.tick()
    assert {alert.label for alert in alerts(session)} == {"billing", "mail"}
    open_breaker(session, "billing", clock.now, "closed")
    clock.tick()
    assert {alert.label: alert.state for alert in alerts(session)} == {
        "billing": AlertState.RESOLVED,
        "mail": AlertState.FIRING,
    }


def test_dead_letters_rise_from_error_to_critical(
    session: Session, clock: Clock, make: MakeRule
) -> None:
    letters = {"metric": Metric.DEAD_LETTERS_OPEN, "severity": Severity.ERROR}
    make(**letters | {"name": "some", "threshold": 2})
    make(**letters | {"name": "many", "threshold": 4, "severity": Severity.CRITICAL})
    bury(session, 2, clock.now)
    clock.tick()
    assert alerts(session) == []
    bury(session, 1, clock.now)
    clock.tick()
    assert only_alert(session).severity == Severity.ERROR
    bury(session, 2, clock.now)
    clock.tick()
    alert = only_alert(session)
    assert (alert.severity, alert.value, alert.key) == (
        Severity.CRITICAL,
        5.0,
        "dead_letters_open",
    )


def test_no_worker_is_an_alert_until_one_beats(
    session: Session, clock: Clock, make: MakeRule
) -> None:
    make(
        metric=Metric.WORKERS_ALIVE,
        comparison=Direction.BELOW,
        threshold=1,
        severity=Severity.CRITICAL,
        for_seconds=120,
    )
    worker = WorkerIdentity("host:1:a", "here", "host", 1, "process", 2, "1")
    beat(session, worker, now=clock.now)
    clock.tick()
    farewell(session, worker.name, now=clock.now)
    states = []
    for _ in range(3):
        clock.tick()
        states.append(only_alert(session).state)
    assert states == [AlertState.PENDING, AlertState.PENDING, AlertState.FIRING]
    session.execute(delete(Worker))
    beat(session, worker, now=clock.now)
    clock.tick()
    assert only_alert(session).state == AlertState.RESOLVED
    assert events(session) == [AlertEvent.PENDING, AlertEvent.FIRED, AlertEvent.RESOLVED]


def test_where_there_are_to_be_no_workers_none_is_missed(
    session: Session, now: datetime, make: MakeRule
) -> None:
    make(metric=Metric.WORKERS_ALIVE, comparison=Direction.BELOW, threshold=1)
    Clock(session, now).tick()
    assert only_alert(session).state == AlertState.FIRING
    # Somebody has chosen to have jobs run where they are enqueued: it is over.
    clock = Clock(session, now + MINUTE, has_workers=False)
    for _ in range(2):
        clock.tick()
        assert only_alert(session).state == AlertState.RESOLVED


def test_a_job_that_waits_for_too_long_is_an_alert(
    session: Session, clock: Clock, make: MakeRule
) -> None:
    make(metric=Metric.OLDEST_QUEUED_SECONDS, threshold=900, severity=Severity.ERROR)
    enqueue(session, "test_echo", {}, by=COMMAND, now=clock.now)
    clock.tick(15)
    clock.tick()
    assert alerts(session) == []
    clock.tick()
    assert only_alert(session).value == 960.0


@pytest.mark.parametrize("metric", [Metric.FLAGS_STALE, Metric.ROLLOUT_ROLLED_BACK])
def test_what_others_report_fires_for_as_long_as_it_is_counted(
    session: Session, clock: Clock, make: MakeRule, metric: Metric
) -> None:
    make(metric=metric, threshold=0, window_seconds=300, severity=Severity.ERROR)
    report(session, metric, "new.checkout", now=clock.now, facts={"password": "x", "to": 5})
    clock.tick()
    alert = only_alert(session)
    assert (alert.label, alert.state, alert.value) == ("new.checkout", AlertState.FIRING, 1.0)
    clock.now += 4 * MINUTE
    clock.tick()
    assert only_alert(session).state == AlertState.RESOLVED


def test_replays_are_a_share_of_writes_with_a_key(
    session: Session, clock: Clock, make: MakeRule
) -> None:
    make(metric=Metric.IDEMPOTENCY_REPLAY_RATE, severity=Severity.INFO)
    for number, (replays, minutes) in enumerate(((3, 1), (0, 1), (0, 2), (50, 90))):
        claimed_at = clock.now - minutes * MINUTE
        session.add(
            IdempotencyKey(
                principal="token:1",
                key=f"key{number}",
                request="POST /",
                fingerprint="0",
                claim="0",
                claimed_at=claimed_at,
                expires_at=claimed_at + timedelta(days=2),
                replays=replays,
                conflicts=0,
                mismatches=0,
            )
        )
    session.flush()
    clock.tick()
    alert = only_alert(session)
    assert (alert.value, alert.sample) == (50.0, 6)


def test_late_schedules_and_failing_sources_can_be_watched(
    session: Session, clock: Clock, make: MakeRule, now: datetime
) -> None:
    make(metric=Metric.SCHEDULE_LATE_SECONDS, threshold=60)
    make(name="sources", metric=Metric.SOURCE_FAILING, threshold=0)
    source = create_source(
        session, "airports", location="/srv/a.csv", key_field="id", by=COMMAND, now=now
    )
    run = EtlRun(
        source_id=source.id,
        started_at=now,
        ended_at=now,
        status="failed",
        checkpoint={"offset": 0, "size": 1},
    )
    session.add(run)
    session.flush()
    clock.tick()
    assert only_alert(session).key == "source_failing:airports"


def test_an_open_breaker_inhibits_the_failures_of_the_jobs_that_call_through_it(
    session: Session, clock: Clock, make: MakeRule, channel: MakeChannel, runs: AddRuns
) -> None:
    ops = [channel("ops")]
    make(channels=ops)
    make(
        name="breakers",
        metric=Metric.BREAKER_OPEN,
        threshold=0,
        severity=Severity.CRITICAL,
        channels=ops,
    )
    session.add(CircuitBreakerUse(name="billing", caller="job etl", seen_at=clock.now))
    runs(0, 9)
    runs(0, 9, type_name="report")
    open_breaker(session, "billing", clock.now)
    (message,) = clock.told()
    assert message["title"] == "2 alerts: 2 firing"
    assert "[critical] Breaker open: billing" in message["body"]
    assert "Failure rate of a job type: report" in message["body"]
    assert "Failure rate of a job type: etl" not in message["body"]
    found = {alert.label: (alert.state, alert.muted) for alert in alerts(session)}
    assert found["etl"] == (AlertState.FIRING, Mute.INHIBITED)
    assert found["report"] == (AlertState.FIRING, None)
    # The failures of that time are still counted.
    open_breaker(session, "billing", clock.now, "closed")
    (message,) = clock.told()
    assert message["title"] == "[over] Breaker open: billing"
    session.execute(update(JobMetric).values(at=clock.now + 60 * MINUTE))
    clock.now += 62 * MINUTE
    assert "job type: etl" in " ".join(item["body"] for item in clock.told())


def test_what_fires_together_is_one_message_for_a_channel_and_one_for_each_incident(
    session: Session, clock: Clock, make: MakeRule, channel: MakeChannel, runs: AddRuns
) -> None:
    pager = channel("pager", f"pagerduty://{'a' * 32}@{'b' * 32}")
    make(channels=[channel("ops"), pager])
    for name in ("etl", "report"):
        runs(0, 9, type_name=name)
    told = clock.told()
    assert [(item["channel"], item["key"]) for item in told] == [
        ("ops", ""),
        ("pager", "job_failure_rate:etl"),
        ("pager", "job_failure_rate:report"),
    ]
    assert told[0]["title"] == "2 alerts: 2 firing"
    assert told[0]["link"] == f"{URL}/alerts?state=active"
    session.execute(delete(JobMetric))
    assert [item["kind"] for item in clock.told()] == ["success"] * 3


def test_a_digest_of_very_many_says_how_many_it_leaves_out(
    session: Session, clock: Clock, make: MakeRule, channel: MakeChannel, runs: AddRuns
) -> None:
    make(channels=[channel("ops")])
    for number in range(60):
        runs(0, 9, type_name=f"{'type' * 20}{number}")
    (message,) = clock.told()
    assert message["title"] == "60 alerts: 60 firing"
    shown = message["body"].count("Key: ")
    assert 0 < shown < 60
    assert message["body"].endswith(f"\n\nAnd {60 - shown} more.")
    assert len(message["body"]) <= 4000


def test_an_acknowledged_alert_is_told_no_more_until_its_end(
    session: Session, clock: Clock, make: MakeRule, channel: MakeChannel, runs: AddRuns
) -> None:
    make(channels=[channel("ops")], cooldown_seconds=60)
    runs(0, 9)
    assert len(clock.told()) == 1
    assert len(clock.told()) == 1
    alert = only_alert(session)
    service.acknowledge(session, alert.id, by=ANNA, now=clock.now, note="Mine")
    assert clock.told() == []
    alert = only_alert(session)
    assert (alert.state, alert.acknowledged_by) == (AlertState.ACKNOWLEDGED, "anna")
    session.execute(delete(JobMetric))
    assert [item["title"] for item in clock.told()] == ["[over] Failure rate of a job type: etl"]
    rows = session.scalars(select(AlertTransition).order_by(AlertTransition.id)).all()
    assert [(row.event, row.telling, row.actor) for row in rows] == [
        (AlertEvent.FIRED, Telling.FIRED, "switchyard"),
        (AlertEvent.TOLD, Telling.STILL, "switchyard"),
        (AlertEvent.ACKNOWLEDGED, None, "anna"),
        (AlertEvent.RESOLVED, Telling.RESOLVED, "switchyard"),
    ]
    assert rows[-1].value is None


def test_a_silenced_alert_is_told_once_the_silence_has_ended(
    session: Session, clock: Clock, make: MakeRule, channel: MakeChannel, runs: AddRuns
) -> None:
    make(channels=[channel("ops")])
    runs(0, 9)
    until = SilenceDraft(label="etl", ends_at=clock.now + 3 * MINUTE, reason="Rehearsal")
    service.create_silence(session, until, by=ANNA, now=clock.now)
    told = [len(clock.told()) for _ in range(5)]
    assert told == [0, 0, 0, 1, 0]
    row = session.scalars(select(AlertTransition).order_by(AlertTransition.id)).first()
    assert row is not None
    assert (row.event, row.state, row.muted) == (AlertEvent.FIRED, AlertState.FIRING, Mute.SILENCED)


@pytest.mark.parametrize("how", ["removed", "disabled"])
def test_what_fires_by_a_rule_that_is_no_more_is_over(
    session: Session, clock: Clock, make: MakeRule, channel: MakeChannel, runs: AddRuns, how: str
) -> None:
    rule = make(channels=[channel("ops")])
    runs(0, 9)
    clock.tick()
    if how == "removed":
        service.remove_rule(session, rule.name, by=ANNA, now=clock.now, reason="Noise")
    else:
        session.execute(update(AlertRule).values(enabled=False))
    assert [item["kind"] for item in clock.told()] == ["success"]
    assert only_alert(session).state == AlertState.RESOLVED


def test_what_comes_back_is_another_alert_under_the_same_key(
    session: Session, clock: Clock, make: MakeRule, channel: MakeChannel, runs: AddRuns
) -> None:
    make(channels=[channel("ops")])
    for _ in range(2):
        runs(0, 9)
        clock.tick()
        session.execute(delete(JobMetric))
        clock.tick()
    first, second = alerts(session)
    assert first.key == second.key
    assert [alert.state for alert in (first, second)] == [AlertState.RESOLVED] * 2
    # It came back within the cooldown, so nobody was told of it.
    assert (first.told_at, second.told_at) == (clock.now - 4 * MINUTE,) * 2


def test_channels_that_are_gone_or_off_keep_nobody_else_from_being_told(
    session: Session,
    clock: Clock,
    make: MakeRule,
    channel: MakeChannel,
    runs: AddRuns,
    now: datetime,
) -> None:
    make(channels=[channel("off"), channel("gone"), channel("ops")])
    draft = ChannelDraft(name="off", enabled=False)
    change_channel(session, draft, secret_key="", by=ANNA, now=now, reason="Rest")
    remove_channel(session, "gone", by=ANNA, now=now, reason="Gone")
    runs(0, 9)
    done = clock.tick()
    told = [find_job(session, job_id).arguments["channel"] for job_id in done.jobs]
    assert (told, done.missing_channels) == (["ops"], ["gone"])


def test_a_minute_is_judged_once(
    session: Session, clock: Clock, make: MakeRule, runs: AddRuns
) -> None:
    make()
    runs(0, 9)
    assert is_due(session, now=clock.now)
    clock.tick(0)
    for seconds in (0, 59):
        later = clock.now + timedelta(seconds=seconds)
        assert not is_due(session, now=later)
        assert evaluate(session, measure(session, now=later), now=later) is None
    assert is_due(session, now=clock.now + MINUTE)
    # A clock that was hours ahead does not stop it.
    assert is_due(session, now=clock.now - timedelta(hours=2))


def test_a_restart_pages_nobody_again(
    session: Session, clock: Clock, make: MakeRule, channel: MakeChannel, runs: AddRuns
) -> None:
    make(channels=[channel("ops")])
    runs(0, 9)
    assert len(clock.told(10)) == 1
    session.expire_all()
    session.expunge_all()
    assert clock.told() == []


def test_history_is_removed_when_it_has_been_kept_for_long_enough(
    session: Session, clock: Clock, make: MakeRule, runs: AddRuns
) -> None:
    make()
    runs(0, 9)
    clock.tick()
    session.execute(delete(JobMetric))
    clock.tick()
    runs(0, 9, type_name="report")
    clock.tick()
    silence = SilenceDraft(rule="warn", ends_at=clock.now + MINUTE, reason="Rest")
    service.create_silence(session, silence, by=ANNA, now=clock.now)
    report(session, Metric.FLAGS_STALE, "host", now=clock.now)
    assert service.remove_old(session, before=clock.now - 2 * MINUTE, most=10) == 0
    assert service.remove_old(session, before=clock.now + 2 * MINUTE, most=10) == 3
    assert only_alert(session).label == "report"
    assert events(session) == [AlertEvent.FIRED]
