"""A decision in the words of OFREP: value, variant and reason of one flag.  Pure.

A flag here is on or off, and may give a variant beside that; there a flag has one value.  A flag
none of whose variants has a value is a boolean one: its value is whether it is on.  Of any other
the value is that of its variant, and where it is off there is no value: the caller's code default
stands, as the protocol has it for an answer without one.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from webapp.flags.values import Decision, FlagDefinition, Reason, Variant
from webapp.ofrep.values import ErrorCode, FlagReason

Document = Mapping[str, Any]

_REASONS: Final[Mapping[Reason, FlagReason]] = {
    Reason.DISABLED: FlagReason.DISABLED,
    Reason.NOT_STARTED: FlagReason.DISABLED,
    Reason.EXPIRED: FlagReason.DISABLED,
    Reason.ENVIRONMENT: FlagReason.DISABLED,
    Reason.PREREQUISITE: FlagReason.TARGETING_MATCH,
    Reason.BLACKLIST: FlagReason.TARGETING_MATCH,
    Reason.WHITELIST: FlagReason.TARGETING_MATCH,
    Reason.RULE: FlagReason.TARGETING_MATCH,
    Reason.ENVIRONMENT_OVERRIDE: FlagReason.STATIC,
    Reason.EVERYONE: FlagReason.STATIC,
    Reason.NOBODY: FlagReason.STATIC,
    Reason.PERCENTAGE: FlagReason.SPLIT,
}


def flag_document(key: str, flag: FlagDefinition | None, decision: Decision) -> Document:
    """Write what a flag answers; one that cannot be decided as what stands in the way.

    ``flag`` is None where nobody made it.
    """
    if flag is None or decision.reason is Reason.NOT_FOUND:
        return failure(key, ErrorCode.FLAG_NOT_FOUND, f"There is no flag {key!r}.")
    if decision.reason is Reason.NO_SUBJECT:
        return _without_key(key)
    choices = [variant for variant in flag.variants if variant.weight > 0]
    if not decision.enabled or not choices:
        return _switched(key, flag, decision)
    chosen = _chosen(choices, decision)
    if chosen is None:
        return _without_key(key)
    reason = _REASONS[decision.reason]
    if len(choices) > 1 and reason is FlagReason.STATIC:
        reason = FlagReason.SPLIT
    answer = {"key": key, "reason": reason, "variant": chosen.name, "metadata": _about(decision)}
    return {**answer, **_valued(chosen.value if has_values(flag) else True, flag)}


def failure(key: str | None, code: ErrorCode, details: str) -> Document:
    """Write what stands in the way of an answer; ``key`` is None for all flags together."""
    told = {"errorCode": code, "errorDetails": details}
    return told if key is None else {"key": key, **told}


def has_values(flag: FlagDefinition) -> bool:
    """Tell whether a flag has values of its own beside on and off."""
    return any(variant.value is not None for variant in flag.variants)


def _without_key(key: str) -> Document:
    return failure(
        key, ErrorCode.TARGETING_KEY_MISSING, "Whom it is for decides: name a targetingKey."
    )


def _switched(key: str, flag: FlagDefinition, decision: Decision) -> Document:
    """Write on or off; a flag with values has none while it is off."""
    answer: dict[str, Any] = {
        "key": key,
        "reason": _REASONS[decision.reason],
        # Also where it is off: one of the providers fails without it.
        "variant": "on" if decision.enabled else "off",
        "metadata": _about(decision),
    }
    return answer if has_values(flag) else answer | {"value": decision.enabled}


def _chosen(choices: Sequence[Variant], decision: Decision) -> Variant | None:
    """Return the variant that was given, or the only one there is; None without a subject."""
    if decision.variant is None:
        return choices[0] if len(choices) == 1 else None
    return Variant(name=decision.variant, weight=1, value=decision.value)


def _valued(value: Any, flag: FlagDefinition) -> Document:
    """Write a value; a variant that has none leaves the code default standing.

    Where one of a flag's numbers has a fraction all are written with a point: strict providers take
    no ``1`` for a float.
    """
    if value is None:
        return {}
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if is_whole and any(isinstance(variant.value, float) for variant in flag.variants):
        value = float(value)
    return {"value": value}


def _about(decision: Decision) -> Document:
    """Tell the reason in our own words: the protocol has only a few."""
    about = {"decision": decision.reason}
    return about if decision.rule is None else about | {"rule": decision.rule}
