"""Reads the rate limits: rules, pauses and what has been used."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import CompoundSelect, func, literal, select, union

from webapp.db import DbSession
from webapp.errors import NotFound
from webapp.limits.declarations import declarations
from webapp.limits.models import RateLimitShare, RateLimitState
from webapp.limits.policy import rule_of
from webapp.limits.values import SOURCE_PREFIX, Counts, LimitStats, Pause, Rule, SharedLimit, Usage


def shared_limits(
    session: DbSession, names: Collection[str], *, api: Rule, now: datetime
) -> dict[str, SharedLimit]:
    """Return what is said of each name, and its pause; two statements where owners are asked."""
    said = said_of(session, names, api=api)
    pauses = _pauses_of(session, names, now=now)
    return {name: SharedLimit(said.get(name), pauses.get(name)) for name in names}


def said_of(session: DbSession, names: Collection[str], *, api: Rule) -> dict[str, Rule]:
    """Return what owners say of those of these names that they say something of."""
    found: dict[str, Rule] = {}
    for prefix, rows in declarations().items():
        bare = [name.removeprefix(prefix) for name in names if name.startswith(prefix)]
        if not bare:
            continue
        owned = rows.subquery()
        for name, *numbers in session.execute(select(owned).where(owned.c[0].in_(bare))):
            if said := rule_of(*numbers, api=api):
                found[prefix + name] = said
    return found


def _pauses_of(session: DbSession, names: Collection[str], *, now: datetime) -> dict[str, Pause]:
    found = session.execute(
        select(RateLimitState.name, RateLimitState.paused_until, RateLimitState.pause_reason).where(
            RateLimitState.name.in_(list(names)), RateLimitState.paused_until > now
        )
    )
    return {row.name: Pause(row.paused_until, row.pause_reason or "") for row in found}


def known_names(session: DbSession, *, skip: int, limit: int) -> tuple[list[str], int]:
    """Return the names that have owners, and those ever counted or paused; and how many."""
    known = _known_names().subquery()
    names = session.scalars(select(known.c.name).order_by(known.c.name).offset(skip).limit(limit))
    return list(names), session.scalar(select(func.count()).select_from(known)) or 0


def find_name(session: DbSession, name: str) -> str:
    """Return the name of the guard that a source or a guard's own name means."""
    known = _known_names().subquery()
    wanted = (SOURCE_PREFIX + name, name)
    found = set(session.scalars(select(known.c.name).where(known.c.name.in_(wanted))))
    for candidate in wanted:
        if candidate in found:
            return candidate
    raise NotFound(f"There is no rate limit {name!r}.")


def _known_names() -> CompoundSelect[Any]:
    owned = [(prefix, rows.subquery()) for prefix, rows in declarations().items()]
    return union(
        select(RateLimitState.name.label("name")),
        *(select(literal(prefix) + rows.c[0]) for prefix, rows in owned),
    )


def limit_stats(
    session: DbSession,
    rules: Mapping[str, Rule | None],
    usage: Mapping[str, Usage] | None,
    *,
    now: datetime,
) -> dict[str, LimitStats]:
    """Return how each of these limits stands, in one statement.

    ``usage`` None adds up what processes have told.
    """
    # Whoever tells of a share tells of its calls too, so no share is without its state.
    rows = session.execute(
        select(RateLimitState, RateLimitShare)
        .outerjoin(RateLimitShare, RateLimitShare.name == RateLimitState.name)
        .where(RateLimitState.name.in_(list(rules)))
    ).all()
    states = {row.RateLimitState.name: row.RateLimitState for row in rows}
    if usage is None:
        usage = _added_up((row.RateLimitShare for row in rows if row.RateLimitShare), now=now)
    return {
        name: _stats(name, rule, usage.get(name, Usage(0, None)), states.get(name), now=now)
        for name, rule in rules.items()
    }


def _added_up(shares: Iterable[RateLimitShare], *, now: datetime) -> dict[str, Usage]:
    """Add up the shares; what a process told last no longer counts once its calls would not."""
    found: dict[str, Usage] = {}
    for share in shares:
        left = (share.at + timedelta(seconds=share.reset) - now).total_seconds()
        if share.used and left > 0:
            before = found.get(share.name, Usage(0, None))
            reset = left if before.reset is None else min(left, before.reset)
            found[share.name] = Usage(before.used + share.used, reset)
    return found


def _stats(
    name: str, rule: Rule | None, usage: Usage, state: RateLimitState | None, *, now: datetime
) -> LimitStats:
    until = state.paused_until if state else None
    reason = state.pause_reason if state else None
    return LimitStats(
        name=name,
        limit=rule,
        used=usage.used if rule else 0,
        left=max(0, rule.calls - usage.used) if rule else None,
        reset=usage.reset if rule else None,
        counts=Counts(state.allowed, state.waited, state.refused) if state else Counts(),
        pause=Pause(until, reason or "") if until and until > now else None,
    )
