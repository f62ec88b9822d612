"""What an empty installation begins with: an admin, three flags, a source of real data, one job.

Each piece is made only where its table is empty, so that seeding twice changes nothing and nothing
that somebody removed comes back beside what they made.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import exists, select

from webapp.accounts.service import create_user
from webapp.actors import SYSTEM
from webapp.db import DbSession, db
from webapp.flags.service import create_flag
from webapp.flags.values import Condition, FlagDraft, Operator, Rule, Variant
from webapp.jobs.service import enqueue
from webapp.roles import Role
from webapp.sources.service import create_source

GENERATED_BYTES = 15

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


@dataclass(frozen=True, slots=True)
class FirstAdmin:
    """The admin that was just made; ``password`` is None where whoever runs this has named it.

    One that was made up can be told now and never again.
    """

    username: str
    password: str | None


def seed(session: DbSession, *, environ: Mapping[str, str], now: datetime) -> FirstAdmin | None:
    """Fill what is empty; returns the admin where one had to be made.

    ``ADMIN_USERNAME`` and ``ADMIN_PASSWORD`` name them; without a password one is made up.
    """
    admin = _first_admin(session, environ, now) if _is_empty(session, "users") else None
    if _is_empty(session, "feature_flags"):
        for draft in FLAGS:
            create_flag(session, draft, by=SYSTEM, now=now, reason="An example to begin with")
    if _is_empty(session, "sources"):
        create_source(
            session,
            "airports",
            location="package:airportsdata/airports.csv",
            key_field="icao",
            by=SYSTEM,
            now=now,
        )
        if _is_empty(session, "jobs"):
            enqueue(
                session,
                "etl",
                {"source": "airports"},
                by=SYSTEM,
                now=now,
                unique_key="etl:airports",
            )
    return admin


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
