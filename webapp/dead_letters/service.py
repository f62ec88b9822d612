"""Writing, resolving and retrying dead letters."""

from dataclasses import asdict
from datetime import datetime

from sqlalchemy import delete, select, update

from webapp.actors import Actor
from webapp.audit.service import record
from webapp.audit.values import Change
from webapp.db import DbSession
from webapp.dead_letters.fingerprint import fingerprint
from webapp.dead_letters.models import DeadLetter
from webapp.dead_letters.values import Cause, Resolution
from webapp.errors import Conflict, Invalid, NotFound
from webapp.jobs.service import find_job
from webapp.jobs.service import retry as retry_job

MAX_NOTES = 500


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
    return letter


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
        message = f"There is no dead letter {letter_id}."
        raise NotFound(message)
    return letter


def retry(session: DbSession, letter_id: int, *, by: Actor, now: datetime) -> DeadLetter:
    """Run the letter's job again; success resolves the letter, failure renews it."""
    letter = find_letter(session, letter_id)
    if letter.resolved_at is not None:
        message = f"Dead letter {letter_id} is resolved already."
        raise Conflict(message)
    retry_job(session, letter.job_id, by=by, now=now)
    letter.retry_count += 1
    return letter


def resolve(
    session: DbSession, letter_id: int, *, by: Actor, now: datetime, notes: str
) -> DeadLetter:
    """Close a letter by hand; ``notes`` say why that is right."""
    notes = notes.strip()
    if not notes:
        raise Invalid.field("notes", "say why this needs no retry")
    if len(notes) > MAX_NOTES:
        raise Invalid.field("notes", f"Use at most {MAX_NOTES} characters, not {len(notes):,}.")
    letter = find_letter(session, letter_id)
    # Conditional, so that of two operators one resolves it and the other is told.
    won = session.execute(
        update(DeadLetter)
        .where(DeadLetter.id == letter_id, DeadLetter.resolved_at.is_(None))
        .values(
            resolved_at=now,
            resolved_by=by.name,
            resolution=Resolution.RESOLVED,
            notes=notes,
        )
    )
    if not won.rowcount:  # type: ignore[attr-defined]
        message = f"Dead letter {letter_id} was resolved by {letter.resolved_by}."
        raise Conflict(message)
    record(
        session,
        by=by,
        at=now,
        action="dead_letter.resolved",
        subject="dead_letter",
        name=str(letter_id),
        reason=notes,
        changes={"resolution": Change(None, Resolution.RESOLVED.value)},
    )
    return find_letter(session, letter_id)


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
