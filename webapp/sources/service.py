"""Adding, changing and removing sources, and starting their runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError

from webapp.actors import Actor
from webapp.audit.service import record
from webapp.audit.values import Change
from webapp.db import DbSession
from webapp.errors import Conflict, Invalid, NotFound
from webapp.jobs.service import enqueue
from webapp.limits.policy import check_rule
from webapp.reasons import complaint_about_reason
from webapp.sources.definitions import check_draft, check_name, draft_of, stored
from webapp.sources.models import EtlRun, Record, RejectedRecord, SchemaDrift, Source
from webapp.sources.values import (
    Options,
    SourceDraft,
    SourceKind,
)


def create_source(  # noqa: PLR0913 - all but the first two are named at the call
    session: DbSession,
    name: str,
    *,
    location: str,
    key_field: str,
    by: Actor,
    now: datetime,
    kind: str = SourceKind.CSV,
    options: Options | None = None,
    mapping: Mapping[str, str] | None = None,
) -> Source:
    """Add a source; :class:`Invalid` names every field that breaks a rule."""
    draft = SourceDraft(
        kind=kind,
        location=location,
        key_field=key_field,
        options=options or Options(),
        mapping=mapping or {},
    )
    errors: dict[str, Sequence[str]] = {}
    for check in (lambda: check_name(name), lambda: check_draft(draft)):
        try:
            check()
        except Invalid as error:
            errors |= error.errors
    if errors:
        raise _refusal(errors)
    columns = stored(check_draft(draft))
    source = Source(
        name=name,
        **columns,
        renames={},
        schema=None,
        record_count=0,
        version=1,
        created_at=now,
        validators=None,
    )
    try:
        # The unique name settles the race between two who add the same source.
        with session.begin_nested():
            session.add(source)
    except IntegrityError:
        raise Invalid.field("name", f"There is a source {name!r} already.") from None
    changes = {field: Change(None, value) for field, value in columns.items() if value}
    _audit(session, name, "source.created", by=by, now=now, changes=changes)
    return source


def change_source(  # noqa: PLR0913 - all but the first three are named at the call
    session: DbSession,
    name: str,
    draft: SourceDraft,
    *,
    by: Actor,
    now: datetime,
    reason: str,
    version: int | None = None,
) -> Source:
    """Make a source what the draft says; the same again changes nothing.

    ``version`` is the one that the change was made from: :class:`Conflict` where it has passed.  A
    run that is under way begins anew with its next batch.
    """
    source = source_to_change(session, name, version)
    errors: dict[str, Sequence[str]] = dict(_complaints_about_reason(reason))
    try:
        draft = check_draft(draft)
    except Invalid as error:
        errors = {**error.errors, **errors}
    if errors:
        raise _refusal(errors)
    before, after = stored(draft_of(source)), stored(draft)
    changes = {
        field: Change(before[field], after[field])
        for field in after
        if before[field] != after[field]
    }
    if not changes:
        return source
    for field, value in after.items():
        setattr(source, field, value)
    source.version += 1
    # What was read before was read in another way: it is to be fetched once more.
    source.validators = None
    session.flush()
    _audit(session, name, "source.updated", by=by, now=now, reason=reason, changes=changes)
    return source


def remove_source(
    session: DbSession,
    name: str,
    *,
    by: Actor,
    now: datetime,
    reason: str,
    version: int | None = None,
) -> None:
    """Remove a source with its records and runs; the audit keeps what it was.

    Its jobs stay.  One that is reading it ends with its next batch.
    """
    source = source_to_change(session, name, version)
    check_reason(reason)
    last = {field: Change(value, None) for field, value in stored(draft_of(source)).items()}
    last["record_count"] = Change(source.record_count, None)
    runs = select(EtlRun.id).where(EtlRun.source_id == source.id)
    for statement in (
        delete(Record).where(Record.source_id == source.id),
        delete(RejectedRecord).where(RejectedRecord.run_id.in_(runs)),
        delete(SchemaDrift).where(SchemaDrift.source_id == source.id),
        delete(EtlRun).where(EtlRun.source_id == source.id),
        delete(Source).where(Source.id == source.id),
    ):
        session.execute(statement.execution_options(synchronize_session=False))
    session.expunge(source)
    _audit(session, name, "source.removed", by=by, now=now, reason=reason, changes=last)


def set_rate_limit(  # noqa: PLR0913 - all but the first two are named at the call
    session: DbSession,
    name: str,
    *,
    calls: int | None,
    seconds: int | None,
    by: Actor,
    now: datetime,
    reason: str,
) -> Source:
    """Say how often a source may be called; every process follows within two seconds.

    Neither number means the default of its kind, 0 calls no limit; the same again changes nothing.
    """
    errors: dict[str, Sequence[str]] = {}
    try:
        calls, seconds = check_rule(calls, seconds)
    except Invalid as error:
        errors |= error.errors
    errors |= _complaints_about_reason(reason)
    if errors:
        raise _refusal(errors)
    source = source_to_change(session, name, None)
    before = (source.rate_limit, source.rate_window)
    if before == (calls, seconds):
        return source
    source.rate_limit, source.rate_window = calls, seconds
    session.flush()
    changes = {
        field: Change(old, new)
        for field, old, new in zip(
            ("rate_limit", "rate_window"), before, (calls, seconds), strict=True
        )
        if old != new
    }
    _audit(session, name, "source.limited", by=by, now=now, reason=reason, changes=changes)
    return source


def source_to_change(session: DbSession, name: str, version: int | None) -> Source:
    """Return a source, locked, so that whoever writes at the same time comes after."""
    wanted = select(Source).where(Source.name == name).with_for_update()
    source = session.scalar(wanted.execution_options(populate_existing=True))
    if source is None:
        raise NotFound(f"There is no source {name!r}.")
    if version not in {None, source.version}:
        raise Conflict(f"{name} was changed meanwhile: it is at version {source.version}.")
    return source


def check_reason(reason: str) -> None:
    """Refuse a change without a reason, or with one that is too long."""
    if errors := _complaints_about_reason(reason):
        raise _refusal(errors)


def _complaints_about_reason(reason: str) -> dict[str, Sequence[str]]:
    complaint = complaint_about_reason(reason)
    return {"reason": [complaint]} if complaint else {}


def _refusal(errors: Mapping[str, Sequence[str]]) -> Invalid:
    field, messages = next(iter(errors.items()))
    return Invalid(f"{field}: {messages[0]}", errors)


def _audit(  # noqa: PLR0913 - what an entry holds
    session: DbSession,
    name: str,
    action: str,
    *,
    by: Actor,
    now: datetime,
    changes: Mapping[str, Change],
    reason: str = "",
) -> None:
    record(
        session,
        by=by,
        at=now,
        action=action,
        subject="source",
        name=name,
        reason=reason,
        changes=changes,
    )


@dataclass(frozen=True, slots=True)
class StartedRun:
    """The job of a run, and whether it is a new one."""

    job_id: int
    new: bool


def start_run(session: DbSession, name: str, *, by: Actor, now: datetime) -> StartedRun:
    """Have a source read, by the job that does so already where there is one."""
    source = find_source(session, name)
    job = enqueue(session, "etl", {"source": name}, by=by, now=now, unique_key=f"etl:{source.name}")
    return StartedRun(job.id, job.created_at == now)


def find_source(session: DbSession, name: str) -> Source:
    """Return one source; :class:`NotFound` where there is none of that name."""
    source = session.scalar(select(Source).where(Source.name == name))
    if source is None:
        raise NotFound(f"There is no source {name!r}.")
    return source


def source_names(session: DbSession) -> list[str]:
    """Return the names of all sources."""
    return list(session.scalars(select(Source.name).order_by(Source.name)))
