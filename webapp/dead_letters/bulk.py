"""What is done to many letters: checked, done at once where they are few, else handed to a job.

The job comes to one batch after the other, oldest letters first, and keeps its place in the
transaction of each: so a worker that is killed leaves no letter out and takes none twice.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from webapp.actors import Actor
from webapp.breakers.service import states_by_name
from webapp.breakers.values import BreakerState
from webapp.db import DbSession
from webapp.dead_letters.selection import BULK_CAP, count_ordered, next_ordered
from webapp.dead_letters.service import (
    ActionRefused,
    discard,
    resolve,
    retry,
)
from webapp.dead_letters.values import (
    AGES,
    MAX_ID,
    MAX_NAMED,
    MAX_PER_MINUTE,
    MIN_PER_MINUTE,
    BulkAction,
    BulkOrder,
    Place,
    Refusal,
)
from webapp.errors import Invalid
from webapp.jobs.service import enqueue
from webapp.reasons import checked_reason

#: The type of job that does what is too much for a request.
JOB_TYPE: Final = "dead-letter-bulk"
#: So many letters are acted on at once, in one transaction.
AT_ONCE: Final = 100
#: Retries at a pace are given out so far ahead: whoever stops a bulk stops all that is behind.
AHEAD: Final = timedelta(seconds=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkOutcome:
    """What came of an order: what was done at once, or the job that does it.

    ``count`` is how many letters it was for, up to one past the cap.
    """

    count: int
    place: Place | None = None
    job_id: int | None = None

    @property
    def capped(self) -> bool:
        """Tell whether there are more letters than were counted."""
        return self.count > BULK_CAP


def checked(
    session: DbSession, order: BulkOrder, *, now: datetime, asking: bool = False
) -> BulkOrder:
    """Return an order as it is carried out; :class:`Invalid` with all that is wrong with it.

    While somebody is only asking what it would be for, it need not say why.
    """
    errors: dict[str, list[str]] = {}
    for check in (_check_letters, _check_pace, *(() if asking else (_check_words,))):
        try:
            check(order)
        except Invalid as error:
            errors |= {name: list(messages) for name, messages in error.errors.items()}
    if order.breaker and order.breaker not in states_by_name(session, now=now):
        errors["when_breaker_closes"] = [f"There is no circuit breaker {order.breaker!r}."]
    if errors:
        name, messages = next(iter(errors.items()))
        raise Invalid(f"{name}: {messages[0]}", errors)
    # Nothing that has yet to fail is among what somebody has looked at.
    return replace(order, at=min(order.at, now), why=order.why.strip())


def carry_out(session: DbSession, order: BulkOrder, *, by: Actor, now: datetime) -> BulkOutcome:
    """Do what a checked order asks for, at once where that is little, else by a job."""
    count = count_ordered(session, order)
    if count <= AT_ONCE and order.per_minute is None and order.breaker is None:
        place = act_on_next(session, order, Place(), by=by, now=now)
        return BulkOutcome(count=count, place=place)
    job = enqueue(
        session,
        JOB_TYPE,
        asdict(order) | {"filters": order.filters.narrowed},
        by=by,
        now=now,
        # Whoever sends the same form twice gets the same job.
        unique_key=f"{JOB_TYPE}:{order.action}:{order.at.isoformat()}",
    )
    return BulkOutcome(count=count, job_id=job.id)


def act_on_next(
    session: DbSession,
    order: BulkOrder,
    place: Place,
    *,
    by: Actor,
    now: datetime,
    most: int = AT_ONCE,
) -> Place:
    """Act on the next letters, at most so many, and return how far that has come.

    At a pace it goes no further than what is due within ``AHEAD``.
    """
    ids = next_ordered(session, order, place.after, most)
    for letter_id in ids:
        due = max(place.due or now, now)
        if order.per_minute is not None and due > now + AHEAD:
            return place
        place = _moved(session, order, place, letter_id, by=by, now=now)
    return replace(place, over=len(ids) < most)


def place_of(saved: Mapping[str, Any] | None) -> Place:
    """Read a place from a job's checkpoint; the beginning where there is none."""
    if saved is None:
        return Place()
    return Place(
        after=saved["after"],
        done=saved["done"],
        refused={Refusal(why): count for why, count in saved["refused"].items()},
        due=datetime.fromisoformat(saved["due"]) if saved["due"] else None,
        over=saved["over"],
    )


def checkpoint_of(place: Place) -> dict[str, Any]:
    """Write a place as a job's checkpoint."""
    due = place.due.isoformat() if place.due else None
    return asdict(place) | {"refused": told(place.refused), "due": due}


def told(refused: Mapping[Refusal, int]) -> dict[str, int]:
    """Write how many letters were refused for which reason."""
    return {why.value: count for why, count in sorted(refused.items())}


def _moved(
    session: DbSession, order: BulkOrder, place: Place, letter_id: int, *, by: Actor, now: datetime
) -> Place:
    """Act on one letter; one that does not let it is counted by its reason."""
    due = max(place.due or now, now) if order.per_minute is not None else None
    try:
        _act(session, order, letter_id, due, by=by, now=now)
    except ActionRefused as error:
        refused = Counter(place.refused)
        refused[error.why] += 1
        return replace(place, after=letter_id, refused=refused)
    following = due + timedelta(minutes=1 / order.per_minute) if due and order.per_minute else None
    return replace(place, after=letter_id, done=place.done + 1, due=following)


def _act(
    session: DbSession,
    order: BulkOrder,
    letter_id: int,
    due: datetime | None,
    *,
    by: Actor,
    now: datetime,
) -> None:
    match order.action:
        case BulkAction.RETRY:
            retry(session, letter_id, by=by, now=now, run_at=due)
        case BulkAction.RESOLVE:
            resolve(session, letter_id, by=by, now=now, notes=order.why)
        case BulkAction.DISCARD:
            discard(session, letter_id, by=by, now=now, reason=order.why)


def _check_letters(order: BulkOrder) -> None:
    if order.job_ids is not None:
        if not 0 < len(order.job_ids) <= MAX_NAMED:
            raise Invalid.field("job_ids", f"Name 1 to {MAX_NAMED:,} jobs; use a filter for more.")
        if not all(0 < job_id <= MAX_ID for job_id in order.job_ids):
            raise Invalid.field("job_ids", "Not all of these are the ids of jobs.")
    for name in ("older", "newer"):
        if (age := getattr(order.filters, name)) and age not in AGES:
            raise Invalid.field(name, f"One of {', '.join(AGES)}.")


def _check_words(order: BulkOrder) -> None:
    if order.action == BulkAction.RESOLVE:
        checked_reason(order.why, field="notes", missing="Say why these need no retry.")
    elif order.action == BulkAction.DISCARD:
        checked_reason(order.why, missing="Say why these jobs are given up.")


def _check_pace(order: BulkOrder) -> None:
    if order.action != BulkAction.RETRY:
        for name, value in (
            ("per_minute", order.per_minute),
            ("when_breaker_closes", order.breaker),
        ):
            if value is not None:
                raise Invalid.field(name, "Only retries can wait.")
    pace = order.per_minute
    if pace is not None and not MIN_PER_MINUTE <= pace <= MAX_PER_MINUTE:
        raise Invalid.field("per_minute", f"From {MIN_PER_MINUTE:g} to {MAX_PER_MINUTE:,.0f}.")


def breaker_state(session: DbSession, order: BulkOrder, *, now: datetime) -> BreakerState:
    """Return how the breaker stands that an order waits for; closed where it waits for none."""
    if order.breaker is None:
        return BreakerState.CLOSED
    return states_by_name(session, now=now).get(order.breaker, BreakerState.CLOSED)
