"""Which rule holds for a name, and what part of it one process may use by itself."""

from collections.abc import Mapping

from webapp.errors import Invalid
from webapp.limits.values import MAX_CALLS, MAX_SECONDS, NO_LIMIT, Rule

API_RULE = Rule(100, 60)
#: By kind of source, where the source itself says nothing.
DEFAULT_RULES: Mapping[str, Rule | None] = {
    "csv": None,
    "api": API_RULE,
    "second-api": Rule(50, 60),
    "rss": Rule(30, 60),
}


def rule_of(
    kind: str, calls: int | None, seconds: int | None, *, api: Rule = API_RULE
) -> Rule | None:
    """Return what is said of a source: by itself, else of its kind; None where nothing is.

    0 calls are ``NO_LIMIT``.  ``api`` is the default of the kind of that name, which a deployment
    may set.
    """
    default = api if kind == "api" else DEFAULT_RULES.get(kind)
    if calls is None:
        return default
    return Rule(calls, seconds or 60) if calls else NO_LIMIT


def in_force(said: Rule | None, by_code: Rule | None) -> Rule | None:
    """Return the rule that holds: what is said of a name, else what the program sets; None for no
    limit.
    """
    rule = said or by_code
    return rule if rule and rule.calls else None


def check_rule(calls: int | None, seconds: int | None) -> tuple[int | None, int | None]:
    """Return calls and seconds as they are stored; :class:`Invalid` names what does not do.

    Neither means that of the kind; 0 calls mean that there is no limit.
    """
    if calls is None:
        if seconds is not None:
            raise Invalid.field("calls", "Say how many calls, or leave both empty.")
        return None, None
    if not 0 <= calls <= MAX_CALLS:
        raise Invalid.field("calls", f"A whole number from 0 to {MAX_CALLS:,}.")
    if not calls:
        return 0, None
    if seconds is None or not 1 <= seconds <= MAX_SECONDS:
        raise Invalid.field("seconds", f"A whole number from 1 to {MAX_SECONDS:,}.")
    return calls, seconds


def share_of(rule: Rule, processes: int) -> int:
    """Return how many calls one of so many processes may make alone; never none at all."""
    return max(1, rule.calls // max(1, processes))
