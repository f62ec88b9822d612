"""How attempts ended lately, for whoever tells by it whether something does harm."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import String, cast, func, select

from webapp.db import DbSession
from webapp.jobs.models import JobAttempt, JobMetric
from webapp.jobs.rollup import MINUTE
from webapp.jobs.values import Outcome


@dataclass(frozen=True, slots=True)
class MinuteOfType:
    """How the attempts of one type ended in the minute from ``at``; ``dead`` buried their jobs."""

    type: str
    at: datetime
    succeeded: int
    failed: int
    dead: int


def minutes_since(
    session: DbSession, since: datetime, type_names: Collection[str] | None
) -> list[MinuteOfType]:
    """Return the minutes of these types, or of all, that begin at a time or later: one statement.

    Minutes are kept for a little more than a day, which bounds what is read.
    """
    bad = JobMetric.failed + JobMetric.lost
    wanted = select(JobMetric.type, JobMetric.at, JobMetric.succeeded, bad, JobMetric.dead).where(
        JobMetric.seconds == MINUTE, JobMetric.at >= since
    )
    if type_names is not None:
        wanted = wanted.where(JobMetric.type.in_(sorted(type_names)))
    return [MinuteOfType(*row) for row in session.execute(wanted).tuples()]


def first_end_since(session: DbSession, since: datetime) -> datetime | None:
    """Return when the first attempt ended at a time or later: one look into an index."""
    return session.scalar(select(func.min(JobAttempt.ended_at)).where(JobAttempt.ended_at >= since))


@dataclass(frozen=True, slots=True)
class FlaggedEnds:
    """How many first attempts of a type ended so that flags had answered so."""

    type: str
    failed: bool
    answers: Mapping[str, Any]
    number: int


def first_ends_with_flags(
    session: DbSession, since: datetime, until: datetime, type_names: Collection[str]
) -> list[FlaggedEnds]:
    """Count how the first attempts of these types ended between two times, by what flags answered.

    Of each job its first attempt alone: those of one job are no witnesses of their own, and neither
    are those that were lost or put off.  One statement, whose cost is that of the attempts that
    ended in this time, however many there are besides.
    """
    answers = cast(JobAttempt.flags_seen, String)
    rows = session.execute(
        select(JobAttempt.type, JobAttempt.outcome, answers, func.count())
        .where(
            JobAttempt.ended_at >= since,
            JobAttempt.ended_at < until,
            JobAttempt.type.in_(sorted(type_names)),
            JobAttempt.fence == 1,
            JobAttempt.outcome.in_((Outcome.SUCCEEDED, Outcome.FAILED)),
            answers.is_not(None),
        )
        .group_by(JobAttempt.type, JobAttempt.outcome, answers)
    )
    return [
        FlaggedEnds(name, outcome == Outcome.FAILED, json.loads(seen) or {}, number)
        for name, outcome, seen, number in rows
    ]
