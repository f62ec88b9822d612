"""The rate limits of this process, by name; a name without a limit costs nothing.

Equal names share one limit.  Where the application has been set up, rules and pauses are those of
all processes; before that (a script, a test of a rule) each process is alone.
"""

import threading
from collections.abc import Mapping

from webapp import clock
from webapp.errors import Invalid
from webapp.limits.limit import RateLimit
from webapp.limits.policy import API_RULE, check_rule, rule_of
from webapp.limits.sharing import Sharing
from webapp.limits.stores import ProcessStore, RedisStore
from webapp.limits.values import (
    NO_LIMIT,
    SOURCE_PREFIX,
    LimitedSource,
    LimitStats,
    Rule,
    Usage,
)
from webapp.registries import InUse, Registry

# The first call under a name waits this long for its rule and pause.
FIRST_LOOK_SECONDS = 1.0
LAST_WORD_SECONDS = 1.0

#: Rules that the program itself sets, for whatever registry is in use.
_by_code: dict[str, Rule] = {}


class LimitRegistry(Registry):
    """All rate limits of one process; without ``database_url`` it keeps them to itself.

    Without ``redis_url`` each process has its share.  ``api`` is the rule of sources of that kind
    that have none of their own.
    """

    def __init__(
        self,
        database_url: str | None = None,
        redis_url: str = "",
        api: Rule = API_RULE,
    ) -> None:
        super().__init__()
        self.api = api
        self._limits: dict[str, RateLimit] = {}
        self._adding = threading.Lock()
        self._alone = ProcessStore()
        self._redis = RedisStore(redis_url, self._alone) if redis_url else None
        self._sharing = (
            Sharing(database_url, self._limits, self._alone, api) if database_url else None
        )

    def get(self, name: str) -> RateLimit:
        """Return the limit ``name``."""
        limit = self._limits.get(name) or self._add(name)
        if self._sharing is not None:
            self._sharing.start()
        return limit

    def hand_over(self, source: LimitedSource) -> None:
        """Have the rule of a source hold until this process has looked for it."""
        numbers = source.kind, source.rate_limit, source.rate_window
        self.get(SOURCE_PREFIX + source.name).hand_over(rule_of(*numbers, api=self.api))

    def set_rule(self, name: str, rule: Rule) -> None:
        """Set what the program says of a name, where this process knows it."""
        if name in self._limits:
            self._limits[name].set_rule(rule)

    def rules_by_code(self) -> Mapping[str, Rule]:
        """Return the rules that the program itself has set in this process."""
        return dict(_by_code)

    def usage(self, rules: Mapping[str, Rule]) -> dict[str, Usage] | None:
        """Return what all processes have used of each rule; None where only they know."""
        return self._redis.usage(rules) if self._redis else None

    def get_stats(self) -> dict[str, LimitStats]:
        """Return how each limit that this process uses stands; counts are this process's own."""
        limits = dict(self._limits)
        rules = {name: limit.rule for name, limit in limits.items() if limit.rule}
        used = self.usage(rules) or self._alone.usage(rules)
        return {
            name: _stats(limit, used.get(name, Usage(0, None))) for name, limit in limits.items()
        }

    def look(self, *, seconds: float) -> None:
        """Tell and learn now, within so many seconds."""
        if self._sharing is not None:
            self._sharing.start()
            self._sharing.look(seconds=seconds)

    def close(self) -> None:
        """Tell other processes what they do not know yet, and stop listening to them."""
        if self._sharing is not None:
            self._sharing.stop(seconds=LAST_WORD_SECONDS)

    def begin_process(self) -> None:
        """Make ready for use in a forked child, where only the forking thread lives on."""
        self._adding = threading.Lock()
        self._alone.begin_process()
        for limit in self._limits.values():
            limit.begin_process()
        if self._sharing is not None:
            self._sharing.begin_process()

    def _add(self, name: str) -> RateLimit:
        with self._adding:
            if name in self._limits:
                return self._limits[name]
            sharing = self._sharing
            limit = self._limits[name] = RateLimit(
                name,
                self._redis or self._alone,
                _by_code.get(name),
                share=sharing.wake if sharing else None,
                learn=self._learn if sharing else None,
            )
        if sharing is not None:
            sharing.wake()
        return limit

    def _learn(self) -> bool:
        """Wait for what other processes know; False where the database has not said it in time.

        Nobody waits for one that is known to be away, nor once this registry is closed: calls go on
        with what the program says.
        """
        sharing = self._sharing
        if sharing is None or not sharing.running or sharing.failing:
            return True
        return sharing.look(seconds=FIRST_LOOK_SECONDS)


def _stats(limit: RateLimit, usage: Usage) -> LimitStats:
    rule, pause = limit.rule, limit.pause_left()
    return LimitStats(
        name=limit.name,
        limit=rule,
        used=usage.used if rule else 0,
        left=max(0, rule.calls - usage.used) if rule else None,
        reset=usage.reset if rule else None,
        counts=limit.counts,
        pause=pause if pause and pause.until > clock.now() else None,
    )


_current = InUse(LimitRegistry())
# Makes a registry the one of this process; the one before stops sharing.
use_registry = _current.use


def current_registry() -> LimitRegistry:
    """Return the registry of this process."""
    return _current.registry


def rate_limit(name: str) -> RateLimit:
    """Return the rate limit of the calls under ``name``; equal names share one."""
    return _current.registry.get(name)


def set_rate_limit(name: str, calls: int, seconds: int) -> None:
    """Limit the calls under ``name`` to so many within any so many seconds; 0 calls: no limit.

    In force in each process that says so; what is said of a source, also that there is no limit,
    goes before it.
    """
    checked, window = check_rule(calls, seconds)
    if checked is None:
        raise Invalid.field("calls", "Say how many calls.")
    rule = Rule(checked, window) if checked and window else NO_LIMIT
    _by_code[name] = rule
    _current.registry.set_rule(name, rule)


def hand_over(source: LimitedSource) -> None:
    """Have the rate limit of a source hold from its first call on, from whoever has its row."""
    _current.registry.hand_over(source)


def get_stats() -> dict[str, LimitStats]:
    """Return how each limit that this process uses stands, by name."""
    return _current.registry.get_stats()
