"""What people write of schedules; each change is one version and one audit entry.

Never fires one: that is in ``firing``.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from webapp.actors import Actor
from webapp.audit.service import record
from webapp.audit.values import Change
from webapp.db import DbSession
from webapp.errors import Conflict, DomainError, Invalid, NotFound
from webapp.jobs.registry import find_job_type, find_open_type, parse_arguments
from webapp.reasons import checked_reason, complaint_about_reason
from webapp.schedules.models import Schedule
from webapp.schedules.timing import check_cron, check_zone, next_after
from webapp.schedules.values import (
    MAX_NAME,
    MAX_PRIORITY,
    CatchUp,
    Overlap,
    ScheduleDraft,
)
from webapp.versions import FIRST_VERSION, refuse_outdated, remove_version, write_version

NAME = re.compile(rf"[a-z0-9][a-z0-9._-]{{0,{MAX_NAME - 1}}}\Z")
# Pages have these places in the URL.
RESERVED_NAMES = frozenset({"new", "preview"})
_FIELDS = tuple(item.name for item in fields(ScheduleDraft))


def create_schedule(
    session: DbSession, draft: ScheduleDraft, *, by: Actor, now: datetime, reason: str
) -> Schedule:
    """Make a schedule; :class:`Invalid` names every field that breaks a rule."""
    draft = checked(draft, now=now, reason=reason)
    schedule = Schedule(
        **_stored(draft),
        enabled=True,
        next_run_at=next_after(draft.cron, draft.timezone, now),
        version=FIRST_VERSION,
        created_at=now,
        created_by=by.name,
        updated_at=now,
        updated_by=by.name,
    )
    try:
        # The unique name settles the race between two who make the same schedule.
        with session.begin_nested():
            session.add(schedule)
    except IntegrityError:
        raise Conflict(f"There is a schedule {draft.name!r} already.") from None
    given = {field: Change(None, value) for field, value in _stored(draft).items() if value}
    given.pop("name")
    _audit(session, schedule, "schedule.created", by=by, now=now, reason=reason, changes=given)
    return schedule


def change_schedule(
    session: DbSession,
    draft: ScheduleDraft,
    *,
    by: Actor,
    now: datetime,
    reason: str,
    version: int | None = None,
) -> Schedule:
    """Make the schedule of that name what the draft says; the same again changes nothing.

    ``version`` is the one that the change was made from: :class:`Conflict` where it has passed.
    A due time that has come and waits to be fired stays, unless the times themselves change.
    """
    schedule = _schedule_to_change(session, draft.name, version)
    draft = checked(draft, now=now, reason=reason)
    before, after = _stored(draft_of(schedule)), _stored(draft)
    different = {
        field: Change(before[field], after[field])
        for field in _FIELDS
        if before[field] != after[field]
    }
    if not different:
        return schedule
    values = {field: change.new for field, change in different.items()}
    if schedule.enabled and {"cron", "timezone"} & different.keys():
        values["next_run_at"] = next_after(draft.cron, draft.timezone, now)
    write_version(session, schedule, values, by=by, now=now)
    _audit(session, schedule, "schedule.updated", by=by, now=now, reason=reason, changes=different)
    return schedule


def pause_schedule(
    session: DbSession,
    name: str,
    *,
    by: Actor,
    now: datetime,
    reason: str,
    version: int | None = None,
) -> Schedule:
    """Stop a schedule from firing; one that is paused stays as it is."""
    schedule = _schedule_to_change(session, name, version)
    reason = checked_reason(reason)
    if schedule.enabled:
        paused = {"enabled": False, "next_run_at": None}
        write_version(session, schedule, paused, by=by, now=now)
        change = {"enabled": Change(True, False)}
        _audit(session, schedule, "schedule.paused", by=by, now=now, reason=reason, changes=change)
    return schedule


def resume_schedule(
    session: DbSession,
    name: str,
    *,
    by: Actor,
    now: datetime,
    reason: str,
    version: int | None = None,
) -> Schedule:
    """Let a schedule fire again, from its next due time: what passed meanwhile was not meant."""
    schedule = _schedule_to_change(session, name, version)
    reason = checked_reason(reason)
    if not schedule.enabled:
        next_at = next_after(schedule.cron, check_zone(schedule.timezone), now)
        resumed = {"enabled": True, "next_run_at": next_at}
        write_version(session, schedule, resumed, by=by, now=now)
        change = {"enabled": Change(False, True)}
        _audit(session, schedule, "schedule.resumed", by=by, now=now, reason=reason, changes=change)
    return schedule


def remove_schedule(
    session: DbSession,
    name: str,
    *,
    by: Actor,
    now: datetime,
    reason: str,
    version: int | None = None,
) -> None:
    """Remove a schedule with its firings; its jobs stay, and the audit keeps its last state."""
    schedule = _schedule_to_change(session, name, version)
    reason = checked_reason(reason)
    last = {
        field: Change(value, None)
        for field, value in _stored(draft_of(schedule)).items()
        if field != "name"
    }
    remove_version(session, schedule)
    _audit(session, schedule, "schedule.removed", by=by, now=now, reason=reason, changes=last)


def find_schedule(session: DbSession, name: str) -> Schedule:
    """Return one schedule; :class:`NotFound` where there is none of that name."""
    found = select(Schedule).where(Schedule.name == name)
    schedule = session.scalar(found.execution_options(populate_existing=True))
    if schedule is None:
        raise NotFound(f"There is no schedule {name!r}.")
    return schedule


def draft_of(schedule: Schedule) -> ScheduleDraft:
    """Return a stored schedule as the draft that would make it anew."""
    return ScheduleDraft(**{field: getattr(schedule, field) for field in _FIELDS})


def problem_of(draft: ScheduleDraft) -> str | None:
    """Say why a schedule could not run now, None where it could.

    What was right when it was saved need not stay so: a type may be gone, or want other arguments.
    """
    try:
        check_zone(draft.timezone)
        check_cron(draft.cron)
        parse_arguments(find_job_type(draft.type), draft.arguments)
    except DomainError as error:
        return error.detail
    return None


def checked(draft: ScheduleDraft, *, now: datetime, reason: str) -> ScheduleDraft:
    """Return a draft as it is stored; :class:`Invalid` with all that is wrong with it."""
    errors: dict[str, list[str]] = {}
    good: dict[str, Any] = {}
    for field, check in _CHECKS.items():
        try:
            good[field] = check(draft)
        except Invalid as error:
            for place, messages in error.errors.items():
                errors.setdefault(place, []).extend(messages)
    draft = replace(draft, **good)
    reckonable = not {"cron", "timezone"} & errors.keys()
    if reckonable and next_after(draft.cron, draft.timezone, now) is None:
        errors["cron"] = ["It never comes due."]
    if message := complaint_about_reason(reason):
        errors["reason"] = [message]
    if errors:
        place, messages = next(iter(errors.items()))
        raise Invalid(f"{place}: {messages[0]}", errors)
    return draft


def _checked_name(draft: ScheduleDraft) -> str:
    if not NAME.match(draft.name) or draft.name in RESERVED_NAMES:
        raise Invalid.field(
            "name",
            f"Use 1 to {MAX_NAME} small letters, digits, dots, dashes and underscores, "
            f"but not just {' or '.join(sorted(RESERVED_NAMES))}.",
        )
    return draft.name


def _checked_type(draft: ScheduleDraft) -> str:
    try:
        return find_open_type(draft.type).name
    except NotFound as error:
        raise Invalid.field("type", error.detail) from None


def _checked_arguments(draft: ScheduleDraft) -> dict[str, Any]:
    """Return the arguments as the type's schema reads them, defaults left out as they were."""
    try:
        kind = find_job_type(draft.type)
    except NotFound:
        return dict(draft.arguments)
    try:
        return parse_arguments(kind, draft.arguments).model_dump(mode="json", exclude_unset=True)
    except Invalid as error:
        told = [
            message if place == "arguments" else f"{place}: {message}"
            for place, messages in error.errors.items()
            for message in messages
        ]
        raise Invalid.field("arguments", " ".join(told)) from None


def _checked_priority(draft: ScheduleDraft) -> int | None:
    if draft.priority is not None and not 0 <= draft.priority <= MAX_PRIORITY:
        raise Invalid.field("priority", f"A whole number from 0 to {MAX_PRIORITY}.")
    return draft.priority


def _one_of(field: str, words: type[Overlap] | type[CatchUp], value: str) -> str:
    if value not in set(words):
        raise Invalid.field(field, f"One of {', '.join(words)}.")
    return value


_CHECKS: Mapping[str, Callable[[ScheduleDraft], Any]] = {
    "name": _checked_name,
    "type": _checked_type,
    "arguments": _checked_arguments,
    "cron": lambda draft: check_cron(draft.cron),
    "timezone": lambda draft: check_zone(draft.timezone),
    "overlap": lambda draft: _one_of("overlap", Overlap, draft.overlap),
    "catch_up": lambda draft: _one_of("catch_up", CatchUp, draft.catch_up),
    "priority": _checked_priority,
}


def _stored(draft: ScheduleDraft) -> dict[str, Any]:
    values = {field: getattr(draft, field) for field in _FIELDS}
    return values | {"arguments": dict(draft.arguments)}


def _schedule_to_change(session: DbSession, name: str, version: int | None) -> Schedule:
    schedule = find_schedule(session, name)
    refuse_outdated(schedule, version)
    return schedule


def _audit(  # noqa: PLR0913 - all but the first three are named at the call
    session: DbSession,
    schedule: Schedule,
    action: str,
    *,
    by: Actor,
    now: datetime,
    reason: str,
    changes: Mapping[str, Change],
) -> None:
    record(
        session,
        by=by,
        at=now,
        action=action,
        subject="schedule",
        name=schedule.name,
        reason=reason,
        changes=changes,
    )
