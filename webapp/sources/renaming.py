"""What people decide of renames: accepting and rejecting.

An accepted rename is followed from the next run on, which therefore reads the source as a whole
again; so is one that is no longer followed.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, update

from webapp.actors import Actor
from webapp.audit.service import record
from webapp.audit.values import Change
from webapp.db import DbSession
from webapp.errors import Conflict, NotFound
from webapp.sources.drift import (
    DriftKind,
    DriftState,
    schema_from_json,
    with_rename,
    without_rename,
)
from webapp.sources.models import SchemaDrift, Source
from webapp.sources.service import check_reason, source_to_change

# What was applied or accepted can be taken back.
_REJECTED_FROM = (DriftState.HELD, DriftState.APPLIED, DriftState.ACCEPTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Decision:
    """Who decides, when and why."""

    by: Actor
    at: datetime
    reason: str


def accept_rename(
    session: DbSession, name: str, drift_id: int, *, by: Actor, now: datetime, reason: str
) -> SchemaDrift:
    """Follow a rename that was held; :class:`Conflict` where it is decided, or the field is gone.

    A run that is under way begins anew with its next batch.
    """
    source, drift = _to_decide(session, name, drift_id, reason)
    new = drift.new_field or ""
    if drift.state == DriftState.HELD and new not in schema_from_json(source.schema):
        raise Conflict(f"{name} has no field {new!r} any more.")
    if drift.state == DriftState.HELD and new in source.renames.values():
        raise Conflict(f"{new!r} is another field's name already.")
    decision = _Decision(by=by, at=now, reason=reason)
    _decide(session, drift, DriftState.ACCEPTED, (DriftState.HELD,), decision)
    renames = with_rename(source.renames, drift.field, new)
    _follow(session, source, renames, "source.rename_accepted", drift, decision)
    return drift


def reject_rename(
    session: DbSession, name: str, drift_id: int, *, by: Actor, now: datetime, reason: str
) -> SchemaDrift:
    """Do not follow a rename, or no longer; the pair is not proposed again."""
    source, drift = _to_decide(session, name, drift_id, reason)
    decision = _Decision(by=by, at=now, reason=reason)
    was = drift.state
    _decide(session, drift, DriftState.REJECTED, _REJECTED_FROM, decision)
    renames = dict(source.renames)
    if was != DriftState.HELD:
        renames = without_rename(renames, drift.new_field or "")
    _follow(session, source, renames, "source.rename_rejected", drift, decision)
    return drift


def _to_decide(
    session: DbSession, name: str, drift_id: int, reason: str
) -> tuple[Source, SchemaDrift]:
    """Return the source, which is locked, and the rename."""
    check_reason(reason)
    source = source_to_change(session, name, None)
    drift = session.scalar(
        select(SchemaDrift).where(
            SchemaDrift.id == drift_id,
            SchemaDrift.source_id == source.id,
            SchemaDrift.kind == DriftKind.RENAMED,
        )
    )
    if drift is None:
        raise NotFound(f"{name} has no rename {drift_id}.")
    return source, drift


def _decide(
    session: DbSession,
    drift: SchemaDrift,
    state: DriftState,
    allowed: Collection[DriftState],
    decision: _Decision,
) -> None:
    """Write a decision; of two who decide at the same time the row count lets one win."""
    decided = session.execute(
        update(SchemaDrift)
        .where(SchemaDrift.id == drift.id, SchemaDrift.state.in_(allowed))
        .values(
            state=state,
            decided_at=decision.at,
            decided_by=decision.by.name,
            reason=decision.reason.strip(),
        )
        .returning(SchemaDrift.id)
    ).scalar_one_or_none()
    session.refresh(drift)
    if decided is None:
        raise Conflict(f"{drift.field} to {drift.new_field} is {drift.state} already.")


def _follow(
    session: DbSession,
    source: Source,
    renames: Mapping[str, str],
    action: str,
    drift: SchemaDrift,
    decision: _Decision,
) -> None:
    """Set the renames and tell the audit; where they differ, all is to be read once more."""
    changes = {"rename": Change(drift.field, drift.new_field)}
    if renames != source.renames:
        changes["renames"] = Change(dict(source.renames), dict(renames))
        source.renames = dict(renames)
        source.version += 1
        source.validators = None
        session.flush()
    record(
        session,
        by=decision.by,
        at=decision.at,
        action=action,
        subject="source",
        name=source.name,
        reason=decision.reason,
        changes=changes,
    )
