"""The ``dead-letter-bulk`` job: acts on many dead letters, from wherever its last batch ended."""

from datetime import datetime
from typing import Any

from pydantic import AwareDatetime, Field

from webapp.actors import Actor
from webapp.breakers.values import BreakerState
from webapp.clock import now
from webapp.db import reading, transaction
from webapp.dead_letters.bulk import (
    AHEAD,
    AT_ONCE,
    JOB_TYPE,
    act_on_next,
    breaker_state,
    checked,
    checkpoint_of,
    place_of,
    told,
)
from webapp.dead_letters.selection import count_ordered
from webapp.dead_letters.values import (
    MAX_NAMED,
    BulkAction,
    BulkOrder,
    LetterFilters,
    Place,
)
from webapp.jobs.registry import JobArguments, job
from webapp.jobs.service import find_job, save_checkpoint
from webapp.jobs.values import Deferred, JobCancelled, JobContext, RetryPolicy

ONE_HOUR = 3600.0
# A breaker that has been open for its time needs calls to close again: one letter each so often.
BREAKER_PAUSE = 15.0
# A bulk at a slow pace waits for weeks, a turn a minute.
MOST_TURNS = 1_000_000


class LettersWanted(JobArguments):
    """Which letters; an empty text means any."""

    type: str = Field(default="", max_length=100)
    exception: str = Field(default="", max_length=255)
    fingerprint: str = Field(default="", max_length=16)
    text: str = Field(default="", max_length=200)
    older: str = Field(default="", max_length=3)
    newer: str = Field(default="", max_length=3)


class BulkArguments(JobArguments):
    """What is done to which letters."""

    action: BulkAction
    at: AwareDatetime = Field(description="Letters that failed later are left alone")
    filters: LettersWanted = LettersWanted()
    job_ids: tuple[int, ...] | None = Field(default=None, max_length=MAX_NAMED)
    why: str = Field(default="", max_length=500, description="For those that are closed")
    per_minute: float | None = Field(default=None, description="Pace of retries")
    breaker: str | None = Field(default=None, description="Retries wait until it is closed")

    def order(self) -> BulkOrder:
        """Return what is asked for."""
        given = self.model_dump()
        return BulkOrder(**(given | {"filters": LetterFilters(**given["filters"])}))


@job(
    JOB_TYPE,
    BulkArguments,
    policy=RetryPolicy(max_retries=5, initial_delay=10, jitter=0.0, max_deferrals=MOST_TURNS),
    timeout=ONE_HOUR,
)
def act_on_letters(context: JobContext, arguments: BulkArguments) -> dict[str, Any]:
    """Retry, resolve or discard many dead letters, all at once or at a pace."""
    with reading() as session:
        order = checked(session, arguments.order(), now=now())
        by = _actor(context, find_job(session, context.claim.job_id).created_by)
        place = place_of(context.claim.checkpoint)
        total = place.looked_at + count_ordered(session, order, after=place.after)
    while not place.over:
        if context.cancelled():
            raise JobCancelled
        place, wait = _batch(context, order, place, by)
        context.progress(place.looked_at, max(total, place.looked_at), _message(place))
        if wait is not None and not place.over:
            raise wait
    return {"done": place.done, "refused": told(place.refused)}


def _actor(context: JobContext, name: str) -> Actor:
    """Return in whose name the letters are acted on: that of whoever enqueued the job."""
    return Actor("system", name, context.claim.request_id)


def _batch(
    context: JobContext, order: BulkOrder, place: Place, by: Actor
) -> tuple[Place, Deferred | None]:
    """Act on the next letters and keep the place, together; say where the rest must wait."""
    with transaction() as session:
        moment = now()
        breaker = breaker_state(session, order, now=moment)
        if breaker == BreakerState.OPEN:
            return place, _behind(order)
        most = AT_ONCE if breaker == BreakerState.CLOSED else 1
        place = act_on_next(session, order, place, by=by, now=moment, most=most)
        save_checkpoint(session, context.claim, checkpoint_of(place))
    if breaker != BreakerState.CLOSED:
        return place, _behind(order)
    return place, _until_due(place.due, moment)


def _behind(order: BulkOrder) -> Deferred:
    return Deferred(f"The breaker {order.breaker} is not closed", seconds=BREAKER_PAUSE)


def _until_due(due: datetime | None, moment: datetime) -> Deferred | None:
    """Wait where the next retry is further ahead than retries are given out."""
    if due is None or due <= moment + AHEAD:
        return None
    ahead = (due - moment - AHEAD / 2).total_seconds()
    return Deferred("The next retries are not due yet", seconds=ahead)


def _message(place: Place) -> str:
    refused = sum(place.refused.values())
    return f"{refused:,} refused" if refused else ""
