"""What an empty installation begins with: an admin, three flags, sources of real data, schedules.

Each piece is made only where its table is empty, so that seeding twice changes nothing and nothing
that somebody removed comes back beside what they made.
"""

import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import exists, select

from webapp.accounts.service import create_user
from webapp.actors import SYSTEM
from webapp.alerts.service import create_rule
from webapp.alerts.values import Metric, RuleDraft, Severity
from webapp.db import DbSession, db
from webapp.errors import Conflict
from webapp.flags.service import create_flag
from webapp.flags.values import (
    Condition,
    FlagDraft,
    GuardAction,
    GuardMetric,
    Operator,
    PlanStep,
    RolloutGuard,
    Rule,
    Variant,
)
from webapp.jobs.service import enqueue
from webapp.roles import Role
from webapp.schedules.service import create_schedule
from webapp.schedules.values import ScheduleDraft
from webapp.sources.service import create_source
from webapp.sources.values import Options, Pagination, SourceDraft, SourceKind

GENERATED_BYTES = 15
REASON = "An example to begin with"
# The web process is up by then.
DEMO_DELAY = 20.0

FLAGS = (
    FlagDraft(
        name="new_prediction_model",
        description="Predictions come from the model that was trained this quarter.",
        enabled=True,
        percentage=25,
        rules=(
            Rule(
                name="early adopters",
                conditions=(
                    Condition(attribute="plan", operator=Operator.IN, values=("enterprise",)),
                ),
                percentage=100,
            ),
        ),
        tags=("predictions",),
        guards=(
            RolloutGuard(
                name="predictions fail",
                metric=GuardMetric.JOB_FAILURE_RATE,
                scope="batch_prediction",
                threshold=20,
                window=3600,
                min_sample=20,
            ),
            RolloutGuard(
                name="jobs die",
                metric=GuardMetric.DEAD_LETTERS,
                threshold=10,
                window=3600,
                action=GuardAction.HALT,
            ),
        ),
    ),
    FlagDraft(
        name="ui.dashboard.new_layout",
        description="The dashboard in its new arrangement, for everybody in staging.",
        enabled=True,
        percentage=0,
        environment_overrides={"staging": True},
        variants=(
            Variant(name="compact", weight=50, value={"columns": 3}),
            Variant(name="roomy", weight=50, value={"columns": 2}),
        ),
        tags=("ui",),
    ),
    FlagDraft(
        name="experimental_analytics",
        description="Analytics that are being tried out by two of us.",
        enabled=True,
        percentage=0,
        whitelist=("user-1001", "user-1002"),
        tags=("analytics",),
    ),
)

#: The plan of the first flag: after so many days, which share.
PLAN = ((0, 25), (3, 50), (7, 100))

#: Each source, and after how many seconds it is read first.
SOURCES = {
    "airports": (
        SourceDraft(location="package:airportsdata/airports.csv", key_field="icao"),
        0.0,
    ),
}
SCHEDULES = (
    ScheduleDraft(
        name="airports-daily", type="etl", cron="0 3 * * *", arguments={"source": "airports"}
    ),
    ScheduleDraft(
        name="operations-weekly", type="report_generation", cron="0 6 * * 1", arguments={}
    ),
)
#: Fires as soon as a worker has begun, and tells nobody.
DEMO_RULE = RuleDraft(
    name="example-workers", metric=Metric.WORKERS_ALIVE, threshold=0, severity=Severity.INFO
)


@dataclass(frozen=True, slots=True)
class FirstAdmin:
    """The admin that was just made; ``password`` is None where whoever runs this has named it.

    One that was made up can be told now and never again.
    """

    username: str
    password: str | None


def seed(
    session: DbSession, *, environ: Mapping[str, str], now: datetime, demo: bool = False
) -> FirstAdmin | None:
    """Fill what is empty; returns the admin where one had to be made.

    ``ADMIN_USERNAME`` and ``ADMIN_PASSWORD`` name them; without a password one is made up.  With
    ``demo`` there are sources that this console serves itself, at ``PORT``, and an alert.
    """
    admin = _first_admin(session, environ, now) if _is_empty(session, "users") else None
    if _is_empty(session, "feature_flags"):
        for draft in (_planned(FLAGS[0], now), *FLAGS[1:]):
            create_flag(session, draft, by=SYSTEM, now=now, reason=REASON)
    if _is_empty(session, "sources"):
        runs_too = _is_empty(session, "jobs")
        drafts = SOURCES | (_demo_sources(environ.get("PORT") or "8000") if demo else {})
        for name, (source, delay) in drafts.items():
            _add_source(session, name, source, now)
            if runs_too:
                _run(session, name, now, delay)
    if _is_empty(session, "schedules"):
        for schedule in SCHEDULES:
            create_schedule(session, schedule, by=SYSTEM, now=now, reason=REASON)
    # Rules there always are; nobody has judged by them yet.
    if demo and _is_empty(session, "alert_head"):
        with suppress(Conflict):
            create_rule(session, DEMO_RULE, by=SYSTEM, now=now, reason=REASON)
    return admin


def _planned(draft: FlagDraft, now: datetime) -> FlagDraft:
    first = now.replace(second=0, microsecond=0)
    steps = (PlanStep(at=first + timedelta(days=days), percentage=share) for days, share in PLAN)
    return replace(draft, rollout_plan=tuple(steps))


def _demo_sources(port: str) -> dict[str, tuple[SourceDraft, float]]:
    """Return what this console serves itself; it is read once the web process may have started."""
    here = f"http://127.0.0.1:{port}/demo"
    pages = Options(
        items="items", pagination=Pagination.CURSOR, cursor_param="after", cursor_path="next"
    )
    areas = SourceDraft(
        kind=SourceKind.API, location=f"{here}/areas", key_field="code", options=pages
    )
    news = SourceDraft(kind=SourceKind.RSS, location=f"{here}/news.xml", key_field="id")
    return {"metropolitan-areas": (areas, DEMO_DELAY), "news": (news, DEMO_DELAY)}


def _add_source(session: DbSession, name: str, draft: SourceDraft, now: datetime) -> None:
    create_source(
        session,
        name,
        kind=draft.kind,
        location=draft.location,
        key_field=draft.key_field,
        options=draft.options,
        by=SYSTEM,
        now=now,
    )


def _run(session: DbSession, name: str, now: datetime, delay: float) -> None:
    key = f"etl:{name}"
    enqueue(session, "etl", {"source": name}, by=SYSTEM, now=now, unique_key=key, delay=delay)


def _first_admin(session: DbSession, environ: Mapping[str, str], now: datetime) -> FirstAdmin:
    given = environ.get("ADMIN_PASSWORD", "")
    password = given or secrets.token_urlsafe(GENERATED_BYTES)
    user = create_user(
        session,
        environ.get("ADMIN_USERNAME", "").strip() or "admin",
        password=password,
        role=Role.ADMIN,
        by=SYSTEM,
        now=now,
    )
    return FirstAdmin(user.username, None if given else password)


def _is_empty(session: DbSession, table: str) -> bool:
    return not session.scalar(select(exists().select_from(db.metadata.tables[table])))
