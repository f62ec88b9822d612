"""Gives an order to many jobs: few are changed at once, many by a job that shows its progress."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from webapp.actors import Actor
from webapp.db import DbSession
from webapp.jobs.bulk import BULK_TYPE, TOGETHER, Order, Refusal, carry_out, note_order, survey
from webapp.jobs.service import enqueue
from webapp.jobs.wishes import JobOptions

#: Before whatever waits: somebody stands and looks.
PRIORITY = 90


@dataclass(frozen=True, slots=True)
class Given:
    """What came of an order; ``job_id`` is the job that carries it out, None where it is done."""

    done: int = 0
    refusals: Sequence[Refusal] = ()
    job_id: int | None = None


def give(session: DbSession, order: Order, *, by: Actor, now: datetime, reason: str = "") -> Given:
    """Do an order at once, or enqueue the job that does."""
    found = survey(session, order)
    order = replace(order, until=found.newest)
    note_order(session, order, by=by, now=now, jobs=found.total, reason=reason)
    if found.total <= TOGETHER and len(order.ids) <= TOGETHER:
        outcome = carry_out(session, order, by=by, now=now)
        return Given(outcome.done, outcome.refusals)
    arguments = {
        "action": order.action,
        "filter": order.filters.given(),
        "ids": list(order.ids),
        "priority": order.priority,
        "until": order.until,
        "total": None if found.capped else found.total,
        "by_kind": by.kind,
        "by_name": by.name,
    }
    options = JobOptions(priority=PRIORITY, internal=True)
    job = enqueue(session, BULK_TYPE, arguments, by=by, now=now, **options)
    return Given(job_id=job.id)
