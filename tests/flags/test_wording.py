"""Flags in words: conditions, rules and changes as sentences that a person reads."""

from typing import Any

import pytest

from webapp.audit.values import FieldChange
from webapp.flags.documents import plain
from webapp.flags.values import Condition, Operator, Prerequisite, Rule, Variant
from webapp.flags.wording import (
    OPERATORS,
    condition_in_words,
    field_in_words,
    rule_in_words,
    told_changes,
)


def condition(attribute: str, operator: str, *values: str, negate: bool = False) -> Condition:
    return Condition(attribute=attribute, operator=Operator(operator), values=values, negate=negate)


PLAN = condition("plan", "in", "pro", "team")
COUNTRY = condition("country", "in", "DE", "FR", "AT")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (PLAN, "plan is in pro, team"),
        (condition("plan", "in", "pro", negate=True), "plan is not in pro"),
        (condition("plan", "not_in", "pro"), "plan is none of pro"),
        (condition("plan", "equals", "pro", "team"), "plan is pro or team"),
        (condition("mail", "ends_with", "@a.com", negate=True), "mail does not end with @a.com"),
        (condition("age", "gte", "18"), "age >= 18"),
        (condition("app", "semver_gt", "2.1.0"), "app is above version 2.1.0"),
        (condition("id", "in", *"abcdefg"), "id is in a, b, c, d, e and 2 more"),
    ],
)
def test_a_condition_is_part_of_a_sentence(given: Condition, words: str) -> None:
    assert condition_in_words(given) == words


def test_every_operator_has_its_words() -> None:
    assert set(OPERATORS) == set(Operator)
    for operator in Operator:
        for negate in (False, True):
            words = condition_in_words(condition("a", operator.value, "1", negate=negate))
            assert words.startswith("a ")


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (
            Rule(name="pro", conditions=(PLAN, COUNTRY), segments=("germans",), percentage=50.0),
            "50 % where plan is in pro, team and country is in DE, FR, AT; segment germans",
        ),
        (Rule(name="pro", segments=("a", "b"), percentage=12.5), "12.5 % segments a, b"),
    ],
)
def test_a_rule_is_a_sentence(rule: Rule, words: str) -> None:
    assert rule_in_words(rule) == words


def change(field: str, old: Any, new: Any) -> FieldChange:
    return FieldChange(field, plain(old), plain(new))


BLUE, RED = Variant(name="blue", weight=1), Variant(name="red", weight=2, value={"a": 1})
LOW, HIGH = (
    Rule(name="pro", conditions=(PLAN,), percentage=5.0),
    Rule(name="pro", conditions=(PLAN,), percentage=50.0),
)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            change("rules", [LOW], [HIGH]),
            [("rule pro", "5 % where plan is in pro, team", "50 % where plan is in pro, team")],
        ),
        (change("rules", None, [LOW]), [("rule pro", None, "5 % where plan is in pro, team")]),
        (
            change("variants", [BLUE, RED], [RED]),
            [("variant blue", "weight 1", None)],
        ),
        (
            change("variants", [BLUE, RED], [RED, BLUE]),
            [("order of variants", "blue, red", "red, blue")],
        ),
        (
            change("prerequisites", [], [Prerequisite(flag="a", enabled=False)]),
            [("prerequisite a", None, "must be off")],
        ),
        (
            change("conditions", [PLAN], [PLAN, COUNTRY]),
            [
                (
                    "conditions",
                    "plan is in pro, team",
                    "plan is in pro, team and country is in DE, FR, AT",
                )
            ],
        ),
        (change("percentage", 5.0, 12.5), [("percentage", 5.0, 12.5)]),
        (
            change("whitelist", ["a"], list("abcdefghijkl")),
            [
                (
                    "whitelist",
                    "1 entry",
                    "12 entries, 11 added: b, c, d, e, f, g, h, i, j, k and 1 more",
                )
            ],
        ),
        (change("metadata", {"a": 1, "b": 2}, {"a": 1, "b": 3}), [("metadata.b", 2, 3)]),
    ],
)
def test_changes_are_told_for_each_thing_that_differs(
    given: FieldChange, told: list[tuple[str, Any, Any]]
) -> None:
    found = [(item.field, item.old, item.new) for item in told_changes([given])]
    assert found == told


@pytest.mark.parametrize(
    ("field", "value", "beside", "lines"),
    [
        ("rules", [LOW], None, ["pro: 5 % where plan is in pro, team"]),
        ("environment_overrides", {"a": True, "b": 2.5}, None, ["a = on", "b = 2.5 %"]),
        ("conditions", [PLAN], None, ["plan is in pro, team"]),
        ("tags", ["a", "b"], None, ["a, b"]),
        ("whitelist", list("abcdef"), ["a"], ["6: b, c, d, e, f"]),
        ("group", None, None, [""]),
        ("metadata", {"owner": "web"}, None, ['{"owner": "web"}']),
        ("description", "words", None, ["words"]),
    ],
)
def test_a_field_is_told_in_lines(field: str, value: Any, beside: Any, lines: list[str]) -> None:
    assert field_in_words(field, plain(value), beside) == lines
