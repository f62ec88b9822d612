"""What operators set for queues and types of job: pauses, and policies other than the type's own.

Workers read it once a second, see ``steering``.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any, Final

from sqlalchemy import CompoundSelect, insert, literal, select, union_all, update
from sqlalchemy.exc import IntegrityError

from webapp.actors import Actor
from webapp.audit.service import record
from webapp.audit.values import Change
from webapp.db import DbSession
from webapp.errors import Conflict, Invalid
from webapp.jobs.models import JobQueue, JobTypeSetting
from webapp.jobs.registry import find_job_type
from webapp.jobs.wishes import check_queue
from webapp.reasons import checked_reason

#: What a policy may hold: the least and the most of each field, delays in seconds.
BOUNDS: Final[Mapping[str, tuple[float, float]]] = {
    "max_retries": (0, 100),
    "initial_delay": (0, 86_400),
    "backoff_factor": (1, 10),
    "max_delay": (0, 604_800),
    "jitter": (0, 1),
    "timeout": (1, 86_400),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyDraft:
    """What operators want of a type; an empty field means the type's own."""

    max_retries: int | None = None
    initial_delay: float | None = None
    backoff_factor: float | None = None
    max_delay: float | None = None
    jitter: float | None = None
    timeout: float | None = None


def pause_queue(
    session: DbSession, name: str, *, by: Actor, now: datetime, reason: str = ""
) -> None:
    """Let no job of a queue begin; :class:`Conflict` where it is paused already."""
    check_queue(name)
    _ensure(session, JobQueue, {"name": name})
    pause = _pause(by, now, reason)
    row = update(JobQueue).where(JobQueue.name == name, JobQueue.paused_at.is_(None))
    if not _won(session, row.values(**pause)):
        message = f"The queue {name} is paused already."
        raise Conflict(message)
    _audit(session, ("queue", name), "queue.paused", by=by, now=now, reason=pause["reason"])


def resume_queue(session: DbSession, name: str, *, by: Actor, now: datetime) -> None:
    """Let the jobs of a queue begin again; :class:`Conflict` where it is not paused."""
    row = update(JobQueue).where(JobQueue.name == name, JobQueue.paused_at.is_not(None))
    if not _won(session, row.values(**_RESUMED)):
        message = f"The queue {name} is not paused."
        raise Conflict(message)
    _audit(session, ("queue", name), "queue.resumed", by=by, now=now)


def pause_type(
    session: DbSession, type_name: str, *, by: Actor, now: datetime, reason: str = ""
) -> None:
    """Let no job of a type begin; :class:`Conflict` where it is paused already."""
    find_job_type(type_name)
    _ensure_type(session, type_name, by=by, now=now)
    pause = _pause(by, now, reason)
    row = update(JobTypeSetting).where(
        JobTypeSetting.type == type_name, JobTypeSetting.paused_at.is_(None)
    )
    if not _won(session, row.values(**pause)):
        message = f"Jobs of the type {type_name} are paused already."
        raise Conflict(message)
    about = ("job_type", type_name)
    _audit(session, about, "job_type.paused", by=by, now=now, reason=pause["reason"])


def resume_type(session: DbSession, type_name: str, *, by: Actor, now: datetime) -> None:
    """Let the jobs of a type begin again; :class:`Conflict` where it is not paused."""
    row = update(JobTypeSetting).where(
        JobTypeSetting.type == type_name, JobTypeSetting.paused_at.is_not(None)
    )
    if not _won(session, row.values(**_RESUMED)):
        message = f"Jobs of the type {type_name} are not paused."
        raise Conflict(message)
    _audit(session, ("job_type", type_name), "job_type.resumed", by=by, now=now)


def set_policy(  # noqa: PLR0913 - whose, what, from which version, and the trace
    session: DbSession,
    type_name: str,
    draft: PolicyDraft,
    *,
    version: int,
    by: Actor,
    now: datetime,
    reason: str = "",
) -> JobTypeSetting:
    """Set the policy of a type, from the version that was looked at: 0 where nothing was set.

    :class:`Conflict` where somebody else has set it meanwhile, :class:`Invalid` names each field.
    """
    find_job_type(type_name)
    reason = checked_reason(reason, missing=None)
    _check(draft)
    if version == 0:
        version = _ensure_type(session, type_name, by=by, now=now)
    before = find_setting(session, type_name)
    wanted = asdict(draft)
    changed = {
        name: Change(getattr(before, name, None), value)
        for name, value in wanted.items()
        if getattr(before, name, None) != value
    }
    row = update(JobTypeSetting).where(
        JobTypeSetting.type == type_name, JobTypeSetting.version == version
    )
    values = wanted | {"version": version + 1, "updated_at": now, "updated_by": by.name}
    if not _won(session, row.values(**values)):
        message = f"The policy of {type_name} has changed meanwhile; look at it again."
        raise Conflict(message)
    about = ("job_type", type_name)
    _audit(session, about, "job_type.updated", by=by, now=now, reason=reason, changes=changed)
    setting = find_setting(session, type_name)
    assert setting is not None  # noqa: S101 - the update above has found it
    return setting


def find_setting(session: DbSession, type_name: str) -> JobTypeSetting | None:
    """Return what operators have set for a type, None where that is nothing."""
    return session.get(JobTypeSetting, type_name, populate_existing=True)


def find_settings(session: DbSession) -> dict[str, JobTypeSetting]:
    """Return what operators have set, by type: one statement."""
    return {item.type: item for item in session.scalars(select(JobTypeSetting))}


def find_paused_queues(session: DbSession) -> dict[str, JobQueue]:
    """Return the queues that are paused, by name: one statement."""
    paused = select(JobQueue).where(JobQueue.paused_at.is_not(None))
    return {item.name: item for item in session.scalars(paused)}


def paused() -> CompoundSelect[tuple[str, str]]:
    """Return the statement that names what is paused: its kind, queue or type, and its name."""
    return union_all(
        select(literal("queue").label("kind"), JobQueue.name.label("name")).where(
            JobQueue.paused_at.is_not(None)
        ),
        select(literal("type"), JobTypeSetting.type).where(JobTypeSetting.paused_at.is_not(None)),
    )


_RESUMED: Final[dict[str, Any]] = {"paused_at": None, "paused_by": None, "reason": None}


def _pause(by: Actor, now: datetime, reason: str) -> dict[str, Any]:
    reason = checked_reason(reason, missing=None)
    return {"paused_at": now, "paused_by": by.name, "reason": reason or None}


def _check(draft: PolicyDraft) -> None:
    errors: dict[str, list[str]] = {}
    for item in fields(draft):
        value = getattr(draft, item.name)
        least, most = BOUNDS[item.name]
        # Written so that what is no number at all is refused too.
        if value is not None and not least <= value <= most:
            errors[item.name] = [f"Use {least:,.0f} to {most:,.0f}."]
    if errors:
        name, messages = next(iter(errors.items()))
        raise Invalid(f"{name}: {messages[0]}", errors)


def _ensure_type(session: DbSession, type_name: str, *, by: Actor, now: datetime) -> int:
    """Return the version of a type's row, which is made where there is none."""
    row = {"type": type_name, "version": 1, "updated_at": now, "updated_by": by.name}
    return 1 if _ensure(session, JobTypeSetting, row) else 0


def _ensure(session: DbSession, model: type, row: dict[str, Any]) -> bool:
    """Insert a row, unless there is one of that key; tell whether it was made here."""
    try:
        with session.begin_nested():
            session.execute(insert(model).values(**row))
    except IntegrityError:
        return False
    return True


def _won(session: DbSession, statement: Any) -> bool:
    result = session.execute(statement.execution_options(synchronize_session=False))
    return bool(result.rowcount)  # type: ignore[attr-defined]


def _audit(  # noqa: PLR0913 - the parts of an entry
    session: DbSession,
    about: tuple[str, str],
    action: str,
    *,
    by: Actor,
    now: datetime,
    reason: str | None = None,
    changes: Mapping[str, Change] | None = None,
) -> None:
    subject, name = about
    record(
        session,
        by=by,
        at=now,
        action=action,
        subject=subject,
        name=name,
        reason=reason or "",
        changes=changes or {},
    )
