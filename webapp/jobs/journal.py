"""What is kept of an attempt beside its end: the lines of its log, and what flags answered to it.

A job that is enqueued within a trace has one line more, its first, which says where.  It must not
know when a worker writes, nor who reads.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import delete, func, insert, select, update

from webapp.db import DbSession, storable
from webapp.jobs.attempts import core, one_or_many
from webapp.jobs.models import JobAttempt, JobLogLine
from webapp.jobs.values import Claim
from webapp.logs import masked
from webapp.traces import Place

#: The most lines that the log of one job holds, and the most bytes of a line's facts as JSON.
MOST_LINES: Final = 1_000
MOST_BYTES: Final = 4_096
MOST_EVENT: Final = 255
#: The last line of a log that is full.
FULL: Final = "log_full"
#: The line that says where in a trace a job was enqueued.  No attempt wrote it, so its fence is 0.
ENQUEUED: Final = "job_enqueued"
_BEFORE: Final = 0
# Of facts that are too long so much is kept, as text; in JSON a character may become six.
_KEPT: Final = 600


@dataclass(frozen=True, slots=True)
class Line:
    """What a job said at one moment."""

    at: datetime
    level: str
    event: str
    facts: Mapping[str, Any]


def line_of(event: str, facts: Mapping[str, Any], *, at: datetime) -> Line:
    """Return a line as it is kept: without secrets, as JSON, and no longer than a line may be."""
    return Line(at, "info", storable(event)[:MOST_EVENT], _fitting(_plain(facts)))


def write_lines(session: DbSession, claim: Claim, lines: Sequence[Line]) -> int:
    """Add lines to the log of a job; return for how many more of this attempt there is room.

    An attempt pushes out the oldest lines of those before it, never its own.  The line that fills
    the log says so instead.
    """
    mine = (JobLogLine.job_id == claim.job_id) & (JobLogLine.fence > _BEFORE)
    counts = select(func.count(), func.count().filter(JobLogLine.fence == claim.fence)).where(mine)
    there, own = core(session).execute(counts).one()
    room: int = MOST_LINES - own
    kept = list(lines[:room])
    if kept and len(lines) >= room:
        kept[-1] = Line(kept[-1].at, "warning", FULL, {"most_lines": MOST_LINES})
    if (surplus := there + len(kept) - MOST_LINES) > 0:
        earlier = select(JobLogLine.id).where(mine, JobLogLine.fence < claim.fence)
        oldest = earlier.order_by(JobLogLine.id).limit(surplus)
        core(session).execute(delete(JobLogLine).where(JobLogLine.id.in_(oldest)))
    rows = [
        {
            "job_id": claim.job_id,
            "fence": claim.fence,
            "at": line.at,
            "level": line.level,
            "event": line.event,
            "facts": line.facts,
        }
        for line in kept
    ]
    if rows:
        core(session).execute(insert(JobLogLine), rows)
    return room - len(kept)


def note_origin(session: DbSession, job_ids: Sequence[int], place: Place, *, now: datetime) -> None:
    """Keep where in a trace these jobs were enqueued."""
    rows = [
        {
            "job_id": job_id,
            "fence": _BEFORE,
            "at": now,
            "level": "info",
            "event": ENQUEUED,
            "facts": asdict(place),
        }
        for job_id in job_ids
    ]
    core(session).execute(insert(JobLogLine), one_or_many(rows))


def origins_of(session: DbSession, job_ids: Sequence[int]) -> dict[int, Place]:
    """Return where in a trace each of these jobs was enqueued, of those that were in one."""
    lines = core(session).execute(
        select(JobLogLine.job_id, JobLogLine.facts).where(
            JobLogLine.job_id.in_(job_ids), JobLogLine.fence == _BEFORE
        )
    )
    return {line.job_id: Place(**line.facts) for line in lines}


def note_flags(session: DbSession, claim: Claim, seen: Mapping[str, Any]) -> None:
    """Keep what flags answered to an attempt."""
    core(session).execute(
        update(JobAttempt)
        .where(JobAttempt.job_id == claim.job_id, JobAttempt.fence == claim.fence)
        .values(flags_seen=dict(seen))
    )


def _plain(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return facts as plain JSON; what JSON cannot hold is written as text."""
    try:
        plain: dict[str, Any] = json.loads(json.dumps(facts, default=str, allow_nan=False))
    except Exception:  # noqa: BLE001 - whatever a value does when it is written, the job goes on
        plain = {name: _shown(value) for name, value in facts.items()}
    cleaned: dict[str, Any] = masked(_storable(plain))
    return cleaned


def _shown(value: object) -> str:
    try:
        return str(value)
    except Exception as fault:  # noqa: BLE001 - as above
        return f"(cannot be shown: {type(fault).__name__})"


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, dict):
        return {storable(key): _storable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_storable(item) for item in value]
    return value


def _fitting(facts: dict[str, Any]) -> dict[str, Any]:
    """Cut facts that are longer than a line may be, and say so."""
    text = json.dumps(facts)
    if len(text) <= MOST_BYTES:
        return facts
    return {"cut": json.dumps(facts, ensure_ascii=False)[:_KEPT], "bytes": len(text)}
