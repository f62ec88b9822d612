"""Flags that use every field which SDKs of Unleash can decide by, and whom they are asked for."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from webapp.flags.values import (
    Condition,
    EvaluationContext,
    FlagDefinition,
    FlagSet,
    Operator,
    Prerequisite,
    Rule,
    Variant,
)

NOW: Final = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
HOUR: Final = timedelta(hours=1)
SUBJECTS: Final = 10_000
FEW: Final = 500
PLANS: Final = ("free", "pro", "team")


def condition(attribute: str, operator: Operator, *values: str, negate: bool = False) -> Condition:
    return Condition(attribute=attribute, operator=operator, values=values, negate=negate)


PRO: Final = condition("plan", Operator.IN, "pro", "team")
SEGMENTS: Final = {
    "seated": (
        condition("seats", Operator.GTE, "10"),
        condition("mail", Operator.ENDS_WITH, "@example.org", "@example.com"),
    )
}


def rule(
    name: str, percentage: float, *conditions: Condition, segments: Sequence[str] = ()
) -> Rule:
    return Rule(name=name, conditions=conditions, segments=tuple(segments), percentage=percentage)


def flag(name: str, percentage: float = 0, **fields: Any) -> FlagDefinition:
    return FlagDefinition(
        name=name, enabled=fields.pop("enabled", True), percentage=percentage, **fields
    )


VARIANTS: Final = (
    Variant(name="blue", weight=3, value={"hex": "#00f", "é": [1, 2.5, None, True]}),
    Variant(name="red", weight=1, value="#f00"),
    Variant(name="never", weight=0, value=7),
    Variant(name="plain", weight=996),
)
# Every field that can be said, each alone and with others.
EXACT: Final = (
    flag("a.on", 100),
    flag("b.half", 50),
    flag("b.one", 1),
    flag("c.killed", 100, enabled=False),
    flag("c.nobody"),
    flag("d.white", whitelist=("user-1", "Zoë", "a,b")),
    flag("d.black", 100, blacklist=("user-2", "user-3")),
    flag("d.both", 20, whitelist=("user-1",), blacklist=("user-2",)),
    flag("e.here", 100, environments=("staging",)),
    flag("e.elsewhere", 100, environments=("production",)),
    flag("f.forced", blacklist=("user-5",), environment_overrides={"staging": True}),
    flag("f.barred", 100, whitelist=("user-1",), environment_overrides={"staging": False}),
    flag("f.share", 10, environment_overrides={"staging": 33.0}),
    flag("f.outside", 10, environments=("demo",), environment_overrides={"staging": 60.0}),
    flag("g.begun", 70, starts_at=NOW - HOUR, expires_at=NOW + HOUR),
    flag("g.now", 100, starts_at=NOW),
    flag("g.later", 100, starts_at=NOW + HOUR),
    flag("g.over", 100, expires_at=NOW),
    flag("h.rule", 5, rules=(rule("pro", 60, PRO),)),
    flag("h.all", rules=(rule("all", 100, PRO),), blacklist=("user-7",)),
    flag(
        "h.rules",
        5,
        rules=(
            rule("pro", 40, PRO, condition("seats", Operator.LT, "20")),
            rule("seated", 80, segments=("seated",)),
            rule("gone", 100, segments=("gone",)),
            rule("less", 3, PRO),
        ),
    ),
    flag("i.not", 10, rules=(rule("others", 90, condition("plan", Operator.NOT_IN, "free")),)),
    flag(
        "i.really",
        rules=(rule("in", 90, condition("plan", Operator.NOT_IN, "free", negate=True)),),
    ),
    flag("i.equals", rules=(rule("e", 90, condition("plan", Operator.EQUALS, "pro")),)),
    flag("i.contains", rules=(rule("c", 90, condition("mail", Operator.CONTAINS, "7@", "x")),)),
    flag("i.starts", rules=(rule("s", 90, condition("mail", Operator.STARTS_WITH, "user-1")),)),
    *(
        flag(
            f"j.{operator}{'.not' if negate else ''}",
            rules=(rule("n", 90, condition("seats", operator, "12.5", negate=negate)),),
        )
        for operator in (Operator.GT, Operator.GTE, Operator.LT, Operator.LTE)
        for negate in (False, True)
    ),
    *(
        flag(f"k.{operator}", rules=(rule("v", 90, condition("version", operator, "2.1.0")),))
        for operator in (Operator.SEMVER_EQ, Operator.SEMVER_GT, Operator.SEMVER_LT)
    ),
    flag("l.variants", 80, variants=VARIANTS),
    flag("l.some", 5, variants=VARIANTS, rules=(rule("pro", 60, PRO),), stickiness="l.variants"),
    flag("l.white", whitelist=("user-1", "user-2"), variants=VARIANTS),
    flag("m.sticky", 50, stickiness="b.half"),
    flag("n.needs", 100, prerequisites=(Prerequisite(flag="b.half"),)),
    flag("n.needs.off", 100, prerequisites=(Prerequisite(flag="b.half", enabled=False),)),
    flag(
        "n.needs.both",
        90,
        variants=VARIANTS,
        prerequisites=(
            Prerequisite(flag="h.rule"),
            Prerequisite(flag="c.killed", enabled=False),
            Prerequisite(flag="g.later", enabled=False),
        ),
    ),
    flag("n.gone", 100, prerequisites=(Prerequisite(flag="gone"),)),
    flag("n.gone.off", 100, prerequisites=(Prerequisite(flag="gone", enabled=False),)),
)
SETTLED: Final = frozenset(
    {"a.on", "c.killed", "c.nobody", "e.here", "e.elsewhere", "f.barred", "f.outside"}
) | {"g.now", "g.later", "g.over", "n.gone", "n.gone.off"}
BY_BUCKET: Final = tuple(
    item.name
    for item in EXACT
    if item.name not in SETTLED and not item.name.startswith(("j.", "k.", "d.white", "d.black"))
)
FLAGS: Final = FlagSet(1, {item.name: item for item in EXACT}, SEGMENTS)


def there(context: EvaluationContext) -> dict[str, Any]:
    """A context as an SDK has it: texts, and the present moment as it would fill it in."""
    asked: dict[str, Any] = {
        "currentTime": context.now.isoformat(),
        "properties": dict(context.attributes),
    }
    return asked if context.subject is None else asked | {"userId": context.subject}


def subject_of(number: int) -> EvaluationContext:
    """Whom the flags are asked for, so that every rule and list is met."""
    name = {0: "Zoë", 1: "a,b"}.get(number, f"user-{number}")
    attributes = {
        "plan": PLANS[number % 3],
        "seats": str(number % 25),
        "mail": f"user-{number}@example.{('org', 'net')[number % 2]}",
        "version": f"{number % 4}.1.0{'-rc.1' if number % 8 == 2 else ''}",
    }
    # Now and then nothing is known of somebody.
    return EvaluationContext(name, "staging", NOW, attributes if number % 50 else {})
