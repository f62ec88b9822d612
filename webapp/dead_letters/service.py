"""Writing, retrying and closing dead letters."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select, update

from webapp.actors import Actor
from webapp.audit.service import record
from webapp.audit.values import Change
from webapp.db import DbSession, gather_for_commit
from webapp.dead_letters.fingerprint import fingerprint
from webapp.dead_letters.masks import unmask
from webapp.dead_letters.models import DeadLetter
from webapp.dead_letters.values import Cause, Refusal, Resolution
from webapp.errors import Conflict, Invalid, NotFound
from webapp.jobs.lifecycle import may
from webapp.jobs.registry import find_job_type, parse_arguments
from webapp.jobs.service import find_job, give_up_on
from webapp.jobs.service import retry as retry_job
from webapp.jobs.values import JobState
from webapp.metrics import DLQ_ADDED, DLQ_RESOLVED, DLQ_RETRIES
from webapp.reasons import checked_reason


def write(session: DbSession, job_id: int, cause: Cause, *, now: datetime) -> DeadLetter:
    """Write the letter of a job that has just been given up, or open its old one again.

    Called in the transaction that buries the job, so that only one caller can be here for it.
    """
    job = find_job(session, job_id)
    # Locked, so that an operator who resolves it at this moment comes before or after.
    letter = session.scalar(select(DeadLetter).where(DeadLetter.job_id == job_id).with_for_update())
    if letter is None:
        letter = DeadLetter(job_id=job_id, retry_count=0)
        session.add(letter)
    for name, value in asdict(cause).items():
        setattr(letter, name, value)
    letter.type = job.type
    letter.arguments = job.arguments
    letter.fingerprint = fingerprint(job.type, cause.exception_type, cause.message, cause.traceback)
    letter.failed_at = now
    letter.resolved_at = letter.resolved_by = letter.resolution = letter.notes = None
    session.flush()
    gather_for_commit(session, _count_added, job.type)
    return letter


def _count_added(types: list[str]) -> None:
    for name in types:
        DLQ_ADDED.labels(name).inc()


def resolve_by_success(session: DbSession, job_id: int, *, now: datetime) -> None:
    """Close the open letter of a job that has succeeded after all, if it has one."""
    session.execute(
        update(DeadLetter)
        .where(DeadLetter.job_id == job_id, DeadLetter.resolved_at.is_(None))
        .values(resolved_at=now, resolved_by="switchyard", resolution=Resolution.RETRIED)
        .execution_options(synchronize_session=False)
    )


def find_letter(session: DbSession, letter_id: int) -> DeadLetter:
    """Return one letter; :class:`NotFound` where there is none."""
    letter = session.get(DeadLetter, letter_id, populate_existing=True)
    if letter is None:
        raise _unknown(letter_id)
    return letter


def letter_of(session: DbSession, job_id: int) -> DeadLetter:
    """Return the letter of a job; :class:`NotFound` where it has none."""
    letter = session.scalar(
        select(DeadLetter)
        .where(DeadLetter.job_id == job_id)
        .execution_options(populate_existing=True)
    )
    if letter is None:
        raise NotFound(f"Job {job_id} has no dead letter.")
    return letter


class ActionRefused(Conflict):
    """A letter that cannot be acted on now; ``why`` for programs, the detail for people."""

    def __init__(self, why: Refusal, detail: str) -> None:
        super().__init__(detail)
        self.why = why


def retry(
    session: DbSession,
    letter_id: int,
    *,
    by: Actor,
    now: datetime,
    run_at: datetime | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> DeadLetter:
    """Run the letter's job again; success resolves the letter, failure renews it.

    ``arguments`` are those that it is to have instead; a mask in them stands for the secret that
    was there.  :class:`ActionRefused` says why the job cannot run, :class:`Invalid` what is wrong
    with new arguments.
    """
    held = _hold(session, letter_id)
    checked = _checked_arguments(held, arguments)
    try:
        retry_job(session, held.job_id, by=by, now=now, run_at=run_at, arguments=checked)
    except Conflict as error:
        # The job is held, so that only its key can be in the way.
        raise ActionRefused(Refusal.UNIQUE_KEY_TAKEN, error.detail) from None
    held.letter.retry_count += 1
    session.flush()
    gather_for_commit(session, _count_retried, held.letter.type)
    return held.letter


def _count_retried(types: list[str]) -> None:
    for name in types:
        DLQ_RETRIES.labels(name).inc()


def resolve(
    session: DbSession, letter_id: int, *, by: Actor, now: datetime, notes: str
) -> DeadLetter:
    """Close a letter by hand; ``notes`` say why that is right."""
    notes = checked_reason(notes, field="notes", missing="Say why this needs no retry.")
    return _close(session, letter_id, Resolution.RESOLVED, notes, by=by, now=now)


def discard(
    session: DbSession, letter_id: int, *, by: Actor, now: datetime, reason: str
) -> DeadLetter:
    """Give a job up for good: its letter is closed, and the job stays dead."""
    reason = checked_reason(reason, missing="Say why this job is given up.")
    _hold(session, letter_id)
    return _close(session, letter_id, Resolution.DISCARDED, reason, by=by, now=now)


def remove_resolved(
    session: DbSession, *, resolved_before: datetime, most: int, by: Actor, now: datetime
) -> int:
    """Remove letters that were closed before a time, at most so many; returns how many.

    Their jobs stay, with all attempts.
    """
    chosen = (
        select(DeadLetter.id)
        .where(DeadLetter.resolved_at < resolved_before)
        .order_by(DeadLetter.resolved_at, DeadLetter.id)
        .limit(most)
    )
    result = session.execute(
        # One that was opened again since it was chosen stays.
        delete(DeadLetter)
        .where(DeadLetter.id.in_(chosen), DeadLetter.resolved_at < resolved_before)
        .execution_options(synchronize_session=False)
    )
    removed = int(result.rowcount)  # type: ignore[attr-defined]
    if removed:
        record(
            session,
            by=by,
            at=now,
            action="dead_letters.removed",
            subject="dead_letters",
            name="resolved",
            changes={
                "resolved_before": Change(None, resolved_before),
                "removed": Change(None, removed),
            },
        )
    return removed


@dataclass(frozen=True, slots=True)
class _Held:
    """An open letter and its dead job, which nobody else can change in this transaction."""

    letter: DeadLetter
    job_id: int
    type: str
    arguments: Mapping[str, Any]


def _hold(session: DbSession, letter_id: int) -> _Held:
    """Keep a letter and its job from changing; refuse what is closed, or under way again.

    The job is locked first, as whoever buries it does: so that no two wait for one another.
    """
    job_id = session.scalar(select(DeadLetter.job_id).where(DeadLetter.id == letter_id))
    if job_id is None:
        raise _unknown(letter_id)
    job = find_job(session, job_id, locked=True)
    letter = session.get(DeadLetter, letter_id, populate_existing=True, with_for_update=True)
    if letter is None:
        raise _unknown(letter_id)
    _refuse_closed(letter)
    if not may("revive", JobState(job.state)):
        raise ActionRefused(
            Refusal.ALREADY_RUNNING,
            f"Job {job_id} is {job.state}: it is being tried again already.",
        )
    return _Held(letter, job_id, job.type, job.arguments)


def _unknown(letter_id: int) -> NotFound:
    return NotFound(f"There is no dead letter {letter_id}.")


def _refuse_closed(letter: DeadLetter) -> None:
    if letter.resolved_at is not None:
        raise ActionRefused(
            Refusal.CLOSED,
            f"Dead letter {letter.id} was {_closed(letter)} by {letter.resolved_by}.",
        )


def _closed(letter: DeadLetter) -> str:
    return "discarded" if letter.resolution == Resolution.DISCARDED else "resolved"


def _checked_arguments(held: _Held, given: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return new arguments with their secrets; refuse what the job could not begin with."""
    try:
        kind = find_job_type(held.type)
    except NotFound:
        raise ActionRefused(
            Refusal.TYPE_GONE,
            f"Job {held.job_id} cannot run: there is no job type {held.type!r} any more.",
        ) from None
    arguments = None if given is None else unmask(given, held.arguments)
    try:
        parse_arguments(kind, held.arguments if arguments is None else arguments)
    except Invalid as error:
        if arguments is None:
            raise ActionRefused(
                Refusal.SCHEMA_CHANGED,
                f"The arguments of job {held.job_id} no longer fit {held.type} "
                f"({error.detail}): change them and retry.",
            ) from None
        raise _told_of_arguments(error) from None
    return arguments


def _told_of_arguments(error: Invalid) -> Invalid:
    told = [
        message if place == "arguments" else f"{place}: {message}"
        for place, messages in error.errors.items()
        for message in messages
    ]
    return Invalid.field("arguments", " ".join(told))


def _close(
    session: DbSession, letter_id: int, how: Resolution, why: str, *, by: Actor, now: datetime
) -> DeadLetter:
    # Conditional, so that of two operators one closes it and the other is told.
    won = session.execute(
        update(DeadLetter)
        .where(DeadLetter.id == letter_id, DeadLetter.resolved_at.is_(None))
        .values(resolved_at=now, resolved_by=by.name, resolution=how, notes=why)
        .execution_options(synchronize_session=False)
    )
    letter = find_letter(session, letter_id)
    if not won.rowcount:  # type: ignore[attr-defined]
        _refuse_closed(letter)
    give_up_on(session, letter.job_id, now=now)
    record(
        session,
        by=by,
        at=now,
        action=f"dead_letter.{_closed(letter)}",
        subject="dead_letter",
        name=str(letter_id),
        reason=why,
        changes={"resolution": Change(None, how.value)},
    )
    gather_for_commit(session, _count_resolved, letter.type)
    return letter


def _count_resolved(types: list[str]) -> None:
    for name in types:
        DLQ_RESOLVED.labels(name).inc()
