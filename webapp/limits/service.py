"""Writes what processes tell of their rate limits, and lifts a pause on a person's word."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import delete, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.engine import CursorResult

from webapp.actors import Actor
from webapp.audit.service import record
from webapp.audit.values import Change
from webapp.db import DbSession
from webapp.errors import Conflict
from webapp.limits.models import RateLimitShare, RateLimitState
from webapp.limits.values import SOURCE_PREFIX, Counts, Pause, Usage
from webapp.reasons import MAX_REASON, checked_reason

#: What a process told last is kept for so long; no window is longer.
KEPT = timedelta(days=1)


def record_pause(session: DbSession, name: str, pause: Pause, *, now: datetime) -> None:
    """Write a pause that a process has met; of several the longest stands."""
    _register(session, name, now=now)
    session.execute(
        # Conditional, so that a shorter pause that is told later does not end a longer one.
        update(RateLimitState)
        .where(
            RateLimitState.name == name,
            RateLimitState.paused_until.is_(None) | (RateLimitState.paused_until < pause.until),
        )
        .values(paused_until=pause.until, pause_reason=pause.reason[:MAX_REASON], updated_at=now)
        .execution_options(synchronize_session=False)
    )


def add_counts(session: DbSession, name: str, counts: Counts, *, now: datetime) -> None:
    """Add what a process has counted since it told last."""
    _register(session, name, now=now)
    session.execute(
        update(RateLimitState)
        .where(RateLimitState.name == name)
        .values(
            allowed=RateLimitState.allowed + counts.allowed,
            waited=RateLimitState.waited + counts.waited,
            refused=RateLimitState.refused + counts.refused,
            updated_at=now,
        )
        .execution_options(synchronize_session=False)
    )


def record_shares(
    session: DbSession, process: str, shares: Mapping[str, Usage], *, now: datetime
) -> None:
    """Write what a process has used of its shares, and forget those that are long gone."""
    session.execute(
        delete(RateLimitShare)
        .where((RateLimitShare.process == process) | (RateLimitShare.at < now - KEPT))
        .execution_options(synchronize_session=False)
    )
    session.add_all(
        RateLimitShare(name=name, process=process, used=usage.used, reset=usage.reset, at=now)
        for name, usage in shares.items()
        if usage.reset is not None
    )
    session.flush()


def lift_pause(session: DbSession, name: str, *, by: Actor, now: datetime, reason: str) -> None:
    """Let calls through again; every process follows within two seconds.

    :class:`Conflict` where nothing is paused any more.
    """
    reason = checked_reason(reason)
    state = session.get(RateLimitState, name, with_for_update=True, populate_existing=True)
    until = state.paused_until if state else None
    if state is None or until is None or until <= now:
        raise Conflict(f"{name} is not paused.")
    lifted = session.execute(
        # On the condition that it is still this pause: of two who lift it, one is in the audit.
        update(RateLimitState)
        .where(RateLimitState.name == name, RateLimitState.paused_until == until)
        .values(paused_until=None, pause_reason=None, updated_at=now)
        .execution_options(synchronize_session=False)
    )
    if not (isinstance(lifted, CursorResult) and lifted.rowcount):
        raise Conflict(f"{name} was changed meanwhile.")
    # What is a source has its history under its own name.
    is_source = name.startswith(SOURCE_PREFIX)
    subject = "source" if is_source else "rate_limit"
    record(
        session,
        by=by,
        at=now,
        action=f"{subject}.pause_lifted",
        subject=subject,
        name=name.removeprefix(SOURCE_PREFIX),
        reason=reason,
        changes={"paused_until": Change(until.isoformat(), None)},
    )


def _register(session: DbSession, name: str, *, now: datetime) -> None:
    """Add a name that nobody has told of yet; one that stands already is left as it is."""
    insert = sqlite_insert if session.get_bind().dialect.name == "sqlite" else postgresql_insert
    session.execute(
        insert(RateLimitState)
        .values(name=name, allowed=0, waited=0, refused=0, updated_at=now)
        .on_conflict_do_nothing()
    )
