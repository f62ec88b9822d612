"""The ``job-bulk`` job: does one thing to very many jobs, a hundred in one transaction."""

from dataclasses import asdict
from typing import Any

from pydantic import Field

from webapp.actors import Actor
from webapp.clock import now
from webapp.db import transaction
from webapp.jobs.bulk import (
    BULK_TYPE,
    MOST_IDS,
    MOST_REFUSALS,
    BulkAction,
    Order,
    Outcome,
    carry_out,
)
from webapp.jobs.filters import JobFilters
from webapp.jobs.registry import JobArguments, job
from webapp.jobs.service import save_checkpoint
from webapp.jobs.values import JobCancelled, JobContext, RetryPolicy


class BulkArguments(JobArguments):
    """An order, and who gave it."""

    action: BulkAction = Field(description="What is done")
    filter: dict[str, str] = Field(default_factory=dict, description="To which jobs")
    ids: list[int] = Field(default_factory=list, max_length=MOST_IDS, description="Or to these")
    priority: int | None = Field(default=None, ge=0, le=100)
    until: int | None = Field(default=None, description="Later jobs are left alone")
    total: int | None = Field(default=None, description="How many there were to begin with")
    by_kind: str
    by_name: str

    def order(self) -> Order:
        """Return the order."""
        return Order(
            action=self.action,
            ids=self.ids,
            filters=JobFilters.read(self.filter),
            priority=self.priority,
            until=self.until,
        ).checked()


@job(BULK_TYPE, BulkArguments, policy=RetryPolicy(initial_delay=10), timeout=3600, internal=True)
def carry_out_in_bulk(context: JobContext, arguments: BulkArguments) -> dict[str, Any]:
    """Retry, run, cancel or reprioritize many jobs."""
    order = arguments.order()
    by = Actor(arguments.by_kind, arguments.by_name, context.claim.request_id)
    progress: dict[str, Any] = {"after": 0, "done": 0, "refused": 0, "refusals": []}
    progress |= context.claim.checkpoint or {}
    while True:
        with transaction() as session:
            outcome = carry_out(session, order, by=by, now=now(), after=progress["after"])
            progress = _added(progress, outcome)
            save_checkpoint(session, context.claim, progress)
        if outcome.last is None:
            return {name: value for name, value in progress.items() if name != "after"}
        for refusal in outcome.refusals:
            context.log("refused", job_id=refusal.id, why=refusal.why)
        looked_at = progress["done"] + progress["refused"]
        total = max(arguments.total, looked_at) if arguments.total is not None else None
        context.progress(looked_at, total)
        if context.cancelled():
            raise JobCancelled


def _added(progress: dict[str, Any], outcome: Outcome) -> dict[str, Any]:
    told = [*progress["refusals"], *map(asdict, outcome.refusals)]
    return {
        "after": outcome.last or progress["after"],
        "done": progress["done"] + outcome.done,
        "refused": progress["refused"] + len(outcome.refusals),
        "refusals": told[:MOST_REFUSALS],
    }
