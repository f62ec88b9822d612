"""Rows of every kind, so that pages have something to show and migrations something to keep."""

from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from webapp.accounts.models import ApiToken, SignInThrottle, User, UserSession
from webapp.actors import COMMAND
from webapp.alerts.models import (
    Alert,
    AlertHead,
    AlertReport,
    AlertRule,
    AlertSilence,
    AlertTransition,
)
from webapp.alerts.values import AlertState, Severity
from webapp.audit.service import record
from webapp.audit.values import Change
from webapp.breakers.models import (
    CircuitBreakerEvent,
    CircuitBreakerMinute,
    CircuitBreakerState,
    CircuitBreakerUse,
)
from webapp.channels.models import Channel
from webapp.dead_letters.service import write
from webapp.dead_letters.values import Cause, Reason
from webapp.flags.batches import Span, UsageBatch, UsageKey
from webapp.flags.comparison import Comparison, Side, comparison_as_document, with_block
from webapp.flags.documents import plain
from webapp.flags.harm import figures_as_document, figures_of
from webapp.flags.models import FeatureFlagError, FeatureFlagGuard, FeatureFlagGuardHead
from webapp.flags.recording import add_usage
from webapp.flags.service import create_flag
from webapp.flags.shared import Trace, create_group, create_segment
from webapp.flags.values import (
    Condition,
    FlagDraft,
    GroupDraft,
    GuardMetric,
    GuardState,
    Operator,
    PlanStep,
    RolloutGuard,
    Rule,
    SegmentDraft,
    Variant,
)
from webapp.idempotency.models import IdempotencyKey
from webapp.jobs.models import (
    Job,
    JobAttempt,
    JobBatch,
    JobDependency,
    JobLogLine,
    JobMetric,
    JobMetricHead,
    JobQueue,
    JobTypeSetting,
)
from webapp.jobs.values import JobState, Outcome
from webapp.limits.models import RateLimitShare, RateLimitState
from webapp.predictions.models import Model, ModelVersion, Prediction, PredictionRun
from webapp.reports.models import Report
from webapp.schedules.models import Schedule, ScheduleFiring
from webapp.schedules.values import FiringOutcome
from webapp.sources.drift import DriftKind, DriftState, KnownField, schema_to_json
from webapp.sources.models import EtlRun, Record, RejectedRecord, SchemaDrift, Source
from webapp.sources.profiles import FieldType
from webapp.sources.service import create_source
from webapp.sources.values import RunStatus
from webapp.workers.models import Worker

# One after the other; the first few hold whatever a page shows in a way of its own.
STATES = (
    JobState.DEAD,
    JobState.SUCCEEDED,
    JobState.RUNNING,
    JobState.QUEUED,
    JobState.RETRYING,
    JobState.SCHEDULED,
    JobState.CANCELED,
)
OUTCOMES = {
    JobState.SUCCEEDED: Outcome.SUCCEEDED,
    JobState.DEAD: Outcome.FAILED,
    JobState.CANCELED: Outcome.CANCELED,
}


def populate(session: Session, numbers: range, *, now: datetime) -> None:
    """Add a thing of each kind for each number, with what hangs on it."""
    for number in numbers:
        moment = now - timedelta(minutes=number)
        _add_flag(session, number, moment)
        job = _add_job(session, number, moment)
        source = _add_source(session, number, job, moment)
        _add_model(session, number, source, job, moment)
        _add_schedule(session, number, job, moment)
        _add_breaker(session, number, moment)
        _add_limit(session, number, moment)
        _add_channel(session, number, moment)
        _add_report(session, number, job, moment)
        _add_alert(session, number, moment)
        _add_worker(session, number, moment)
        _add_credentials(session, number, moment)
    session.flush()


def _add_flag(session: Session, number: int, now: datetime) -> None:
    trace = Trace(COMMAND, now, "Needed")
    german = Condition(attribute="country", operator=Operator.IN, values=("DE", "AT"))
    segment = SegmentDraft(name=f"german{number}", conditions=(german,))
    create_segment(session, segment, trace)
    create_group(session, GroupDraft(name=f"group{number}"), trace)
    draft = FlagDraft(
        name=f"flag.number{number}",
        description="A flag among others.",
        enabled=number % 2 == 0,
        percentage=number % 101,
        environment_overrides={"staging": True},
        rules=(Rule(name="some", segments=(segment.name,), percentage=100.0),),
        variants=(Variant(name="blue", weight=1), Variant(name="green", weight=1)),
        group=f"group{number}",
        tags=("example",),
        rollout_plan=(
            PlanStep(at=now, percentage=50),
            PlanStep(at=now + timedelta(days=3), percentage=100),
        ),
        guards=(
            RolloutGuard(
                name="jobs", metric=GuardMetric.JOB_COMPARISON, scope="etl", min_sample=20
            ),
            RolloutGuard(name="errors", metric=GuardMetric.ERRORS, threshold=10, window=3600),
        ),
    )
    create_flag(session, draft, by=COMMAND, now=now, reason="Needed")
    _add_guard(session, number, draft, now)
    hour = now.replace(minute=0, second=0, microsecond=0)
    asked = UsageKey(draft.name, hour, "production", "", number % 2 == 0, "percentage")
    batch = UsageBatch(
        counts={asked: number + 1},
        uses={draft.name: Span(hour, now)},
        unknown={f"misspelt.number{number}": (1, Span(hour, now))},
        subjects={(draft.name, hour): [number]},
    )
    add_usage(session, batch)


def _add_guard(session: Session, number: int, flag: FlagDraft, now: datetime) -> None:
    """Add what a guard has seen, the evidence with which it tripped, and what it is made from."""
    seen = with_block(Comparison(), Side(3, 20), Side(2, 80))
    guard = FeatureFlagGuard(
        flag=flag.name,
        name=flag.guards[0].name,
        definition=plain(flag.guards[0]),
        since=now,
        read_until=now,
        memory=comparison_as_document(seen),
        state=GuardState.CALM,
        figures=figures_as_document(figures_of(seen)),
        checked_at=now,
        tripped_at=now,
        trip={
            "guard": flag.guards[0].name,
            "metric": "job_comparison",
            "scope": "etl",
            "threshold": 500,
            "action": "roll_back",
            "from": 50,
            "to": 0,
            "since": "2026-11-22T11:00:00Z",
            "text": "etl: 3 of 20 (15.0 %) failed with the flag on",
        }
        | figures_as_document(figures_of(seen)),
    )
    error = FeatureFlagError(flag=flag.name, minute=now.replace(second=0), count=number + 1)
    session.add_all((guard, error, FeatureFlagGuardHead(id=number + 1, checked_at=now)))


def _add_job(session: Session, number: int, now: datetime) -> Job:
    state = STATES[number % len(STATES)]
    ended = now + timedelta(seconds=2) if state in OUTCOMES else None
    job = Job(
        type="etl",
        queue="default",
        priority=50,
        state=state,
        arguments={"source": f"source{number}"},
        run_at=now,
        created_at=now,
        created_by="command line",
        started_at=now if ended else None,
        finished_at=ended,
        worker=f"host:{number}:a" if state == JobState.RUNNING else None,
    )
    session.add(job)
    session.flush()
    if ended:
        attempt = JobAttempt(
            job_id=job.id,
            type=job.type,
            fence=1,
            started_at=now,
            ended_at=ended,
            outcome=OUTCOMES[state],
            worker="host:1:a",
        )
        session.add(attempt)
    if state == JobState.DEAD:
        _add_letter(session, job, now)
    _add_around_job(session, number, job, now)
    return job


def _add_around_job(session: Session, number: int, job: Job, now: datetime) -> None:
    """Add what hangs on a job, and what holds for its queue and type; not to be claimed."""
    line = JobLogLine(
        job_id=job.id, fence=1, at=now, level="info", event="rows_read", facts={"rows": number}
    )
    batch = JobBatch(name=f"batch{number}", size=1, created_at=now, created_by="command line")
    session.add_all((line, batch))
    session.flush()
    job.batch_id = batch.id
    session.add(JobDependency(job_id=job.id, depends_on_id=job.id))
    session.add(JobQueue(name=f"queue{number}", paused_at=now, paused_by="ada", reason="Rest"))
    setting = JobTypeSetting(
        type=f"type{number}", max_retries=2, version=1, updated_at=now, updated_by="ada"
    )
    metric = JobMetric(
        type=job.type,
        seconds=3600,
        at=now,
        runs=1,
        succeeded=1,
        failed=0,
        retried=0,
        dead=0,
        deferred=0,
        lost=0,
        canceled=0,
        run_buckets=[1],
        wait_buckets=[1],
    )
    head = JobMetricHead(id=number, claimed_at=now, closed_until=now)
    session.add_all((setting, metric, head))


def _add_letter(session: Session, job: Job, now: datetime) -> None:
    cause = Cause(
        reason=Reason.ATTEMPTS_SPENT,
        error_class="network",
        exception_type="ConnectionError",
        message=f"Host {job.id} does not answer",
        traceback="Traceback (most recent call last):\nConnectionError",
    )
    write(session, job.id, cause, now=now)


def _add_source(session: Session, number: int, job: Job, now: datetime) -> Source:
    source = create_source(
        session,
        f"source{number}",
        location=f"/srv/data/{number}.csv",
        key_field="id",
        by=COMMAND,
        now=now,
    )
    if number % 2:
        source.rate_limit, source.rate_window = 10, 60
    run = EtlRun(
        source_id=source.id,
        job_id=job.id,
        started_at=now,
        ended_at=now + timedelta(seconds=2),
        status=RunStatus.SUCCEEDED,
        processed=2,
        inserted=1,
        rejected=1,
        checkpoint={"offset": 0, "line": 1, "size": 1, "modified": 1},
    )
    session.add(run)
    session.flush()
    row = Record(
        source_id=source.id,
        key="1",
        content_hash="0" * 32,
        raw={"id": "1"},
        first_seen_at=now,
        last_seen_at=now,
        run_id=run.id,
    )
    session.add_all((row, RejectedRecord(run_id=run.id, line=3, error="No key", text=",x")))
    _add_drift(session, source, run, now)
    return source


def _add_model(session: Session, number: int, source: Source, job: Job, now: datetime) -> None:
    """Add a model whose champion predicts; every third has a challenger as well."""
    # A number is given once, and pages are named by it.
    model = Model(
        id=number + 1, source_id=source.id, target="kind", created_at=now, created_by="ada"
    )
    session.add(model)
    session.flush()
    champion = _version(number, 1, "champion", now)
    champion.job_id = job.id
    session.add(champion)
    session.flush()
    challenger = _version(number, 2, "candidate", now) if number % 3 == 0 else None
    if challenger:
        session.add(challenger)
        session.flush()
    run = PredictionRun(
        id=number + 1,
        model_id=model.id,
        champion_id=champion.id,
        challenger_id=challenger.id if challenger else None,
        job_id=job.id,
        started_at=now,
        ended_at=now if number % 2 else None,
        processed=2,
        written=1,
        rejected=1,
        rejections={"It lacks the field size.": 1},
    )
    session.add(run)
    session.flush()
    prediction = Prediction(
        version_id=champion.id,
        key=str(number),
        content_hash="0" * 32,
        label="large",
        probability=0.75,
        run_id=run.id,
        predicted_at=now,
    )
    session.add(prediction)


def _version(number: int, at: int, state: str, now: datetime) -> ModelVersion:
    return ModelVersion(
        id=2 * number + at,
        model_id=number + 1,
        number=at,
        state=state,
        revision=1,
        state_at=now,
        state_by="ada",
        task="classification",
        algorithm="logistic",
        seed=0,
        held_out_share=0.2,
        features=[{"name": "size", "kind": "number", "gaps": False}],
        left_out={"id": "is the key"},
        metrics={"balanced_accuracy": 0.9, "accuracy": 0.92},
        comparison={
            "champion": None,
            "metric": "balanced_accuracy",
            "rows": 20,
            "champion_score": None,
            "score": 0.9,
            "promoted": True,
            "reason": "It is the first, and better than guessing.",
        },
        rows_read=100,
        rows_trained=80,
        rows_held_out=20,
        rows_unlabelled=0,
        data_hash="0" * 64,
        file_hash="0" * 64,
        file_size=1000,
        trained_at=now,
        trained_by="ada",
    )


def _add_drift(session: Session, source: Source, run: EtlRun, now: datetime) -> None:
    known = KnownField(FieldType.INTEGER, FieldType.INTEGER, (1,), 1.0, now.isoformat(), run.id)
    source.schema = schema_to_json({"id": known, "quantity": known})
    run.drift = {DriftKind.RENAMED: 1}
    renamed = SchemaDrift(
        source_id=source.id,
        run_id=run.id,
        found_at=now,
        kind=DriftKind.RENAMED,
        field="qty",
        new_field="quantity",
        from_type=FieldType.INTEGER,
        to_type=FieldType.INTEGER,
        confidence=0.7,
        state=DriftState.HELD,
    )
    session.add(renamed)


def _add_schedule(session: Session, number: int, job: Job, now: datetime) -> None:
    paused = number % 4 == 1
    schedule = Schedule(
        name=f"schedule{number}",
        # Every third has lost its type.
        type="gone" if number % 3 == 2 else "etl",
        arguments={"source": f"source{number}"},
        cron="0 6 * * mon-fri",
        timezone="Europe/Berlin",
        overlap="skip",
        catch_up="one",
        enabled=not paused,
        last_run_at=now,
        next_run_at=None if paused else now + timedelta(days=1),
        version=1,
        created_at=now,
        created_by="command line",
        updated_at=now,
        updated_by="command line",
    )
    session.add(schedule)
    session.flush()
    outcomes = list(FiringOutcome)
    outcome = outcomes[number % len(outcomes)]
    firing = ScheduleFiring(
        schedule_id=schedule.id,
        due_at=now,
        fired_at=now + timedelta(seconds=number),
        outcome=outcome,
        planned=True,
        passed=number,
        job_id=job.id if outcome == FiringOutcome.ENQUEUED else None,
        note=None if outcome == FiringOutcome.ENQUEUED else "For a reason",
    )
    session.add(firing)


def _add_breaker(session: Session, number: int, now: datetime) -> None:
    name = f"source:source{number}"
    state = CircuitBreakerState(
        name=name,
        state="open" if number % 2 else "closed",
        opened_at=now if number % 2 else None,
        open_seconds=30.0,
        failures=number % 6,
        failure_threshold=5,
        last_error="ConnectionError: no answer",
        updated_at=now,
        version=1,
    )
    event = CircuitBreakerEvent(
        name=name, at=now, old_state="closed", new_state="open", error=None, actor="switchyard"
    )
    minute = CircuitBreakerMinute(
        name=name,
        minute=now.replace(second=0, microsecond=0),
        calls=number + 1,
        failures=number % 2,
        slow=0,
        refused=number,
        spared=0,
        neutral=0,
    )
    use = CircuitBreakerUse(name=name, caller=f"job etl{number}", seen_at=now)
    session.add_all((state, event, minute, use))


def _add_limit(session: Session, number: int, now: datetime) -> None:
    name = f"source:source{number}"
    paused = number % 3 == 1
    state = RateLimitState(
        name=name,
        paused_until=now + timedelta(days=1000) if paused else None,
        pause_reason="429 Too Many Requests" if paused else None,
        allowed=number,
        waited=number,
        refused=number,
        updated_at=now,
    )
    share = RateLimitShare(name=name, process=f"host:{number}:a", used=1, reset=60.0, at=now)
    session.add_all((state, share))


def _add_channel(session: Session, number: int, now: datetime) -> None:
    channel = Channel(
        name=f"channel{number}",
        kind="JSON",
        place="jsons://hooks.example.com",
        # Of another SECRET_KEY, as it looks after that was changed.
        sealed_url="gAAAAA",
        enabled=number % 2 == 0,
        version=1,
        created_at=now,
        created_by="command line",
        updated_at=now,
        updated_by="command line",
    )
    session.add(channel)


def _add_report(session: Session, number: int, job: Job, now: datetime) -> None:
    written = number % 2 == 0
    report = Report(
        # A number is given once, also after a test has emptied the table.
        id=number + 1,
        kind="operations" if written else "source",
        format="html",
        days=7,
        source=None if written else f"source{number}",
        job_id=job.id,
        requested_at=now,
        requested_by="ada",
        finished_at=now if written else None,
        size=number if written else None,
    )
    session.add(report)


def _add_alert(session: Session, number: int, now: datetime) -> None:
    """Add a rule, an alert that it made, one of each state, and what is around them."""
    state = list(AlertState)[number % len(AlertState)]
    ended = state in {AlertState.RESOLVED, AlertState.INACTIVE}
    rule = AlertRule(
        name=f"rule{number}",
        metric="job_failure_rate",
        scope=f"etl{number}",
        comparison="above",
        threshold=20.0,
        window_seconds=3600,
        min_sample=5,
        severity="warning",
        for_seconds=0,
        cooldown_seconds=1800,
        channels=[f"channel{number}", "gone"],
        enabled=number % 3 != 0,
        version=1,
        created_at=now,
        created_by="ada",
        updated_at=now,
        updated_by="ada",
    )
    facts = {
        "severity": list(Severity)[number % len(Severity)],
        "rule": rule.name,
        "value": 62.5,
        "comparison": "above",
        "threshold": 20.0,
        "sample": 8,
        "state": state,
        "muted": "silenced" if number % 5 == 0 else None,
    }
    alert = Alert(
        # A number is given once, and pages are named by it.
        id=number + 1,
        key=f"job_failure_rate:etl{number}",
        metric=rule.metric,
        label=rule.scope,
        holding={} if ended else {rule.name: now.isoformat()},
        began_at=now,
        fired_at=now if state in {"firing", "acknowledged", "resolved"} else None,
        acknowledged_at=now if state == AlertState.ACKNOWLEDGED else None,
        acknowledged_by="ada" if state == AlertState.ACKNOWLEDGED else None,
        ended_at=now if ended else None,
        told=False,
        told_channels=[],
        **facts,
    )
    session.add_all((rule, alert))
    session.flush()
    transition = AlertTransition(
        alert_id=alert.id, at=now, event="fired", channels=[], actor="switchyard", **facts
    )
    silence = AlertSilence(
        id=number + 1,
        rule=rule.name,
        label="",
        reason="Their maintenance",
        ends_at=now + timedelta(hours=number + 1),
        created_at=now,
        created_by="ada",
    )
    report = AlertReport(
        metric="rollout_rolled_back", label=f"flag.number{number}", at=now, facts={"to": 5}
    )
    head = AlertHead(id=number + 1, evaluated_at=now)
    session.add_all((transition, silence, report, head))


def _add_worker(session: Session, number: int, now: datetime) -> None:
    worker = Worker(
        name=f"host:{number}:a",
        place="here",
        host="host",
        pid=number,
        kind="process",
        processes=2,
        version="0",
        started_at=now,
        beat_at=now,
    )
    session.add(worker)


def _add_credentials(session: Session, number: int, now: datetime) -> None:
    token = ApiToken(
        name=f"program {number}",
        prefix="swy_0000",
        token_hash=f"{number:064}",
        role="viewer",
        created_by="command line",
        created_at=now,
    )
    user = User(
        username=f"somebody{number}",
        password_hash="",
        role="viewer",
        epoch=1,
        active=number % 3 != 1,
        created_at=now,
    )
    session.add(user)
    session.flush()
    opened = UserSession(
        id=f"session{number:057}",
        user_id=user.id,
        started_at=now,
        address="192.0.2.7",
        user_agent="Mozilla/5.0 (X11; Linux x86_64) Firefox/133.0",
        last_used_at=now,
    )
    throttle = SignInThrottle(key=f"account:somebody{number}", failures=1, last_try_at=now)
    key = IdempotencyKey(
        principal=f"token:{token.name}",
        key=f"order-{number}",
        request="POST /api/v1/queue/jobs/etl",
        fingerprint="0" * 64,
        claim="0" * 32,
        claimed_at=now,
        expires_at=now + timedelta(days=2),
        answered_at=now,
        status=201,
        headers=[["Content-Type", "application/json"]],
        body=b"{}",
        replays=number % 3,
        conflicts=0,
        mismatches=0,
    )
    session.add_all((token, opened, throttle, key))
    record(
        session,
        by=COMMAND,
        at=now,
        action="token.created",
        subject="token",
        name=token.name,
        changes={"role": Change(None, "viewer")},
    )
