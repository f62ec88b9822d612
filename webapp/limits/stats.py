"""How rate limits stand over all processes, for pages and programs."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

from webapp.db import DbSession
from webapp.limits import queries
from webapp.limits.policy import in_force, rule_of
from webapp.limits.registry import current_registry
from webapp.limits.values import SOURCE_PREFIX, LimitedSource, LimitStats, Rule


def stats_of(session: DbSession, names: Collection[str], *, now: datetime) -> dict[str, LimitStats]:
    """Return how each of these names stands, in two statements and one turn to Redis at most."""
    said = queries.said_of(session, names, api=current_registry().api)
    return _stats_of_said(session, {name: said.get(name) for name in names}, now=now)


def stats_of_sources(
    session: DbSession, sources: Iterable[LimitedSource], *, now: datetime
) -> dict[str, LimitStats]:
    """Return how the limit of each source stands, by the source's name, in one statement."""
    api = current_registry().api
    said = {
        SOURCE_PREFIX + source.name: rule_of(
            source.kind, source.rate_limit, source.rate_window, api=api
        )
        for source in sources
    }
    found = _stats_of_said(session, said, now=now)
    return {stats.source: stats for stats in found.values()}


def _stats_of_said(
    session: DbSession, said: Mapping[str, Rule | None], *, now: datetime
) -> dict[str, LimitStats]:
    """Where nothing is said of a name, the rule that this process's program has set is in force."""
    registry = current_registry()
    by_code = registry.rules_by_code()
    rules = {name: in_force(rule, by_code.get(name)) for name, rule in said.items()}
    limited = {name: rule for name, rule in rules.items() if rule}
    return queries.limit_stats(session, rules, registry.usage(limited), now=now)


def list_stats(
    session: DbSession, *, now: datetime, skip: int = 0, limit: int = 50
) -> tuple[list[LimitStats], int]:
    """Return the limits by name, those of sources and those of other guards, and how many."""
    names, total = queries.known_names(session, skip=skip, limit=limit)
    found = stats_of(session, names, now=now)
    return [found[name] for name in names], total


def find_stats(session: DbSession, name: str, *, now: datetime) -> LimitStats:
    """Return one limit, by the name of its source or its guard; ``NotFound`` where none is."""
    known = queries.find_name(session, name)
    return stats_of(session, [known], now=now)[known]
