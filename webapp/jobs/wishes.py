"""What somebody wants done, checked and written out as a row of the ledger.

Nothing here touches the database, the queue or the clock.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, TypedDict

from webapp.actors import Actor
from webapp.errors import Invalid
from webapp.jobs.registry import JobType, find_job_type, find_open_type, parse_arguments
from webapp.jobs.values import JobState
from webapp.outbound.http import check_callback_url

MAX_PRIORITY: Final = 100
MAX_DEPENDENCIES: Final = 100
MAX_KEY: Final = 255
LONGEST_DELAY: Final = timedelta(days=3_650)
_QUEUE: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,99}\Z")


class JobOptions(TypedDict, total=False):
    """How a job is to be done; whatever is left out is as its type says.

    ``run_at`` is when, or ``delay`` in how many seconds; ``priority`` is 0 to 100, the highest
    first.  A job that has not begun by ``expires_at`` is canceled.  With ``unique_key`` the
    unfinished job of that key is returned instead of a second one.  ``depends_on`` are jobs that
    must have succeeded first.  ``callback_url`` is told of its end.  ``internal`` is for the
    console itself, whose own types are refused without it.
    """

    queue: str | None
    priority: int | None
    run_at: datetime | None
    delay: float | None
    expires_at: datetime | None
    unique_key: str | None
    depends_on: Sequence[int]
    callback_url: str | None
    internal: bool


@dataclass(frozen=True, slots=True)
class Wish:
    """One job that somebody wants."""

    type: str
    arguments: Mapping[str, Any]
    options: JobOptions = field(default_factory=JobOptions)


def row_of(wish: Wish, *, by: Actor, now: datetime) -> dict[str, Any]:
    """Return the row of a job; :class:`Invalid` names the field that does not fit.

    Whether it is handed over, and what it depends on, is for the caller to add.
    """
    options = wish.options
    find = find_job_type if options.get("internal") else find_open_type
    kind = find(wish.type)
    checked = parse_arguments(kind, wish.arguments)
    run_at = _run_at(options, now)
    return {
        "type": kind.name,
        "queue": _queue(options, kind),
        "priority": _priority(options, kind),
        "state": JobState.QUEUED if run_at <= now else JobState.SCHEDULED,
        "arguments": checked.model_dump(mode="json"),
        "unique_key": _unique_key(options),
        "run_at": run_at,
        "created_at": now,
        "created_by": by.name,
        "request_id": by.request_id,
        "dispatched_at": None,
        "attempts": 0,
        "losses": 0,
        "deferrals": 0,
        "fence": 0,
        "held": False,
        "expires_at": _expires_at(options, run_at),
        "callback_url": _callback_url(options),
        "batch_id": None,
    }


def check_queue(name: str) -> str:
    """Return the name of a queue; :class:`Invalid` where it can be none."""
    if not _QUEUE.match(name):
        message = "Use up to 100 lower-case letters, digits, dots, dashes and underscores."
        raise Invalid.field("queue", message)
    return name


def check_priority(priority: int) -> int:
    """Return a priority; :class:`Invalid` where it is out of bounds."""
    if not 0 <= priority <= MAX_PRIORITY:
        raise Invalid.field("priority", f"Use 0 to {MAX_PRIORITY}.")
    return priority


def _run_at(options: JobOptions, now: datetime) -> datetime:
    run_at, delay = options.get("run_at"), options.get("delay")
    if delay is None:
        return run_at or now
    if run_at is not None:
        raise Invalid.field("delay", "Give either a time or a delay, not both.")
    if not 0 <= delay <= LONGEST_DELAY.total_seconds():
        message = f"Use 0 to {LONGEST_DELAY.total_seconds():,.0f} seconds."
        raise Invalid.field("delay", message)
    return now + timedelta(seconds=delay)


def _expires_at(options: JobOptions, run_at: datetime) -> datetime | None:
    expires_at = options.get("expires_at")
    if expires_at is not None and expires_at <= run_at:
        raise Invalid.field("expires_at", "It must be later than the time at which the job is due.")
    return expires_at


def _queue(options: JobOptions, kind: JobType) -> str:
    name = options.get("queue")
    return kind.queue if name is None else check_queue(name)


def _priority(options: JobOptions, kind: JobType) -> int:
    priority = options.get("priority")
    return kind.priority if priority is None else check_priority(priority)


def _unique_key(options: JobOptions) -> str | None:
    key = options.get("unique_key")
    if key is not None and not 0 < len(key) <= MAX_KEY:
        raise Invalid.field("unique_key", f"Use 1 to {MAX_KEY} characters.")
    return key


def _callback_url(options: JobOptions) -> str | None:
    url = options.get("callback_url")
    if url is not None:
        check_callback_url(url)
    return url
