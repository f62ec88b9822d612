"""Rows of a flag's form: what is read from them, what is said of them, one row more or less."""

import json
from typing import Any

import pytest

from webapp.flags.forms import FlagForm, form_of
from webapp.flags.placement import placed
from webapp.flags.rows import edited, rows_of
from webapp.flags.rule_forms import (
    RuleRow,
    VariantRow,
    read_prerequisites,
    read_rules,
    read_variants,
    rules_in,
    shares_of,
)
from webapp.flags.values import (
    Condition,
    FlagDraft,
    Operator,
    Prerequisite,
    Rule,
    Variant,
)

CONDITION = Condition(attribute="plan", operator=Operator.IN, values=("pro", "team"), negate=True)
DRAFT = FlagDraft(
    name="ui.beta",
    group="checkout",
    rules=(
        Rule(name="paying", conditions=(CONDITION,), segments=("germans", "vip"), percentage=12.5),
        Rule(name="staff", segments=("staff",), percentage=100.0),
    ),
    variants=(Variant(name="blue", weight=2, value={"a": [1]}), Variant(name="red", weight=0)),
    prerequisites=(Prerequisite(flag="other"), Prerequisite(flag="third", enabled=False)),
)


def sent_by(form: FlagForm) -> dict[str, str]:
    """Return the fields of a form as a browser would send them."""
    sent: dict[str, str] = {"name": form.name, "group": form.group, "percentage": form.percentage}
    for at, rule in enumerate(form.rules):
        sent |= {f"rules-{at}-{key}": getattr(rule, key) for key in ("name", "percentage")}
        sent[f"rules-{at}-segments"] = rule.segments
        for number, item in enumerate(rule.conditions):
            path = f"rules-{at}-conditions-{number}"
            fields = ("attribute", "operator", "values", "negate")
            sent |= {f"{path}-{key}": getattr(item, key) for key in fields}
    for at, variant in enumerate(form.variants):
        sent |= {
            f"variants-{at}-{key}": getattr(variant, key) for key in ("name", "weight", "value")
        }
    for at, row in enumerate(form.prerequisites):
        sent |= {f"prerequisites-{at}-{key}": getattr(row, key) for key in ("flag", "enabled")}
    return sent


def test_a_flag_that_was_written_into_its_form_is_read_from_it_again() -> None:
    read = FlagForm.read(sent_by(form_of(DRAFT, 3))).draft()
    assert (read.rules, read.variants) == (DRAFT.rules, DRAFT.variants)
    assert (read.prerequisites, read.group) == (DRAFT.prerequisites, "checkout")


@pytest.mark.parametrize(
    ("sent", "rows"),
    [
        ({}, []),
        ({"rules-0-name": "a", "rules-1-name": "b"}, [{"name": "a"}, {"name": "b"}]),
        ({"rules-10-name": "b", "rules-2-name": "a"}, [{"name": "a"}, {"name": "b"}]),
        ({"rules-0-conditions-1-values": "x"}, [{"conditions-1-values": "x"}]),
        ({"rules-x-name": "a", "rules--name": "a", "rules-0": "a", "rules-0-": "a"}, []),
        ({"rules-\u0663-name": "a", "xrules-0-name": "a", "rules-9999999-name": "a"}, []),
    ],
)
def test_rows_come_in_the_order_of_their_numbers(
    sent: dict[str, str], rows: list[dict[str, str]]
) -> None:
    assert rows_of(sent, "rules") == rows


def test_more_rows_than_anybody_may_save_are_cut_off() -> None:
    assert len(rows_of({f"rules-{at}-name": "a" for at in range(5000)}, "rules")) == 100


@pytest.mark.parametrize(
    ("sent", "path", "count", "focus"),
    [
        ({"add": "rules"}, "rules", 1, "rules-0"),
        ({"add": "rules", "rules-4-name": "a"}, "rules", 2, "rules-1"),
        ({"add": "variants", "variants-0-name": "a"}, "variants", 2, "variants-1"),
        ({"remove": "rules-0", "rules-0-name": "a", "rules-1-name": "b"}, "rules", 1, "rules"),
        ({"remove": "rules-1", "rules-1-name": "a", "rules-10-name": "b"}, "rules", 1, "rules"),
        ({"remove": "rules-7", "rules-0-name": "a"}, "rules", 1, "rules"),
    ],
)
def test_a_button_gives_one_row_more_or_less(
    sent: dict[str, str], path: str, count: int, focus: str
) -> None:
    found = edited(sent)
    assert found is not None
    assert (len(rows_of(found.sent, path)), found.focus) == (count, focus)


def test_a_condition_more_or_less_leaves_the_other_rules_alone() -> None:
    sent = {"rules-0-name": "a", "rules-0-conditions-0-values": "1", "rules-1-name": "b"}
    more = edited(sent | {"add": "rules-0-conditions"})
    assert more is not None
    assert [len(rule.conditions) for rule in rules_in(more.sent)] == [2, 0]
    assert more.focus == "rules-0-conditions-1"
    less = edited(dict(sent) | {"remove": "rules-0-conditions-0"})
    assert less is not None
    assert [len(rule.conditions) for rule in rules_in(less.sent)] == [0, 0]
    assert less.focus == "rules-0-conditions"


def test_a_new_rule_brings_its_first_condition() -> None:
    found = edited({"add": "rules"})
    assert found is not None
    assert len(rules_in(found.sent)[0].conditions) == 1


@pytest.mark.parametrize("sent", [{}, {"add": ""}, {"remove": ""}, {"reason": "r"}])
def test_without_such_a_button_no_row_is_asked_for(sent: dict[str, str]) -> None:
    assert edited(sent) is None


def test_a_row_in_which_nothing_was_typed_is_no_row() -> None:
    sent = {
        "rules-0-conditions-0-operator": "gt",
        "rules-0-conditions-0-attribute": " ",
        "variants-0-weight": " ",
        "prerequisites-0-enabled": "off",
    }
    draft = FlagForm.read({"name": "a", **sent}).draft()
    assert (draft.rules, draft.variants, draft.prerequisites) == ((), (), ())


@pytest.mark.parametrize(
    ("field", "value", "path", "message"),
    [
        ("percentage", "many", "rules-1-percentage", "Must be a number from 0 to 100."),
        ("conditions-0-operator", "is", "rules-1-conditions-0-operator", "no comparison"),
    ],
)
def test_what_cannot_be_read_of_a_rule_is_said_at_its_field(
    field: str, value: str, path: str, message: str
) -> None:
    row = {"name": "a", "percentage": "1", "conditions-0-attribute": "x", field: value}
    sent = {f"rules-1-{key}": text for key, text in row.items()} | {"rules-0-name": ""}
    _, errors = read_rules(rules_in(sent))
    assert list(errors) == [path]
    assert message in errors[path][0]


@pytest.mark.parametrize(
    ("row", "path"),
    [
        (VariantRow(name="a", weight="1", value="blue"), "variants-0-value"),
        (VariantRow(name="a", weight="1", value="{" * 5000), "variants-0-value"),
        (VariantRow(name="a", weight="1.5"), "variants-0-weight"),
        (VariantRow(name="a", weight="9" * 30), "variants-0-weight"),
        (VariantRow(name="a"), "variants-0-weight"),
    ],
)
def test_what_cannot_be_read_of_a_variant_is_said_at_its_field(row: VariantRow, path: str) -> None:
    _, errors = read_variants([row])
    assert list(errors) == [path]


@pytest.mark.parametrize(
    ("text", "value"),
    [("", None), ("null", None), ('"blue"', "blue"), ("1", 1), ('{"a": 1}', {"a": 1})],
)
def test_the_value_of_a_variant_is_json(text: str, value: Any) -> None:
    found, errors = read_variants([VariantRow(name="a", weight="1", value=text)])
    assert (found[0].value, errors) == (value, {})


def test_a_prerequisite_must_be_on_unless_it_says_off() -> None:
    sent = {"prerequisites-0-flag": " a ", "prerequisites-1-flag": "b"}
    rows = FlagForm.read(sent | {"prerequisites-1-enabled": "off"}).prerequisites
    found, _ = read_prerequisites(rows)
    assert found == (Prerequisite(flag="a"), Prerequisite(flag="b", enabled=False))


@pytest.mark.parametrize(
    ("weights", "shares"),
    [
        ((), []),
        (("1", "1", "2"), [25.0, 25.0, 50.0]),
        (("3", "many", ""), [100.0, None, None]),
        (("0", "0"), [None, None]),
    ],
)
def test_each_variant_has_its_share_of_all_weights(
    weights: tuple[str, ...], shares: list[float | None]
) -> None:
    assert shares_of([VariantRow(name="a", weight=weight) for weight in weights]) == shares


RULES = (RuleRow(), RuleRow(name="pro"), RuleRow(percentage="5"))


@pytest.mark.parametrize(
    ("message", "path", "told"),
    [
        ("pro: At least one value.", "rules-1", "At least one value."),
        ("pro: country: At least one value.", "rules-1", "country: At least one value."),
        (
            "Rule 2 has a name of 1 to 64 characters.",
            "rules-2",
            "It has a name of 1 to 64 characters.",
        ),
        ("Rule 3 has a name.", "rules", "Rule 3 has a name."),
        ("Given twice: pro.", "rules", "Given twice: pro."),
        ("There is no segment pro.", "rules", "There is no segment pro."),
    ],
)
def test_what_is_said_of_a_rule_stands_at_its_row(message: str, path: str, told: str) -> None:
    found = placed({"rules": [message], "name": ["n"]}, {"rules": RULES})
    assert found == {"name": ["n"], path: [told]}


def test_a_value_is_written_as_json_that_people_can_read() -> None:
    row = form_of(FlagDraft(name="a", variants=(Variant(name="v", weight=1, value="ü"),)), 1)
    assert row.variants[0].value == json.dumps("ü", ensure_ascii=False)
