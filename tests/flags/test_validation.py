"""What a flag may hold: each rule names its field."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from webapp.flags.validation import (
    References,
    complaints_about,
    complaints_about_group,
    complaints_about_references,
    complaints_about_segment,
)
from webapp.flags.values import (
    SINGLE_VALUE,
    Condition,
    FlagDraft,
    GroupDraft,
    Operator,
    Prerequisite,
    Rule,
    SegmentDraft,
    Variant,
)

PRO = Condition(attribute="plan", operator=Operator.IN, values=("pro", "team"))
FOR_PRO = Rule(name="for pro", conditions=(PRO,), segments=("press",), percentage=12.34)
RED, BLUE = Variant(name="red", weight=1, value={"shade": "#f00"}), Variant(name="blue", weight=0)
NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
GOOD = FlagDraft(
    name="ui.dashboard.new_layout",
    description="Two\nlines, and an émigré 👩‍🚀.",
    percentage=12.34,
    whitelist=("a", "b c"),
    blacklist=("d",),
    environments=("production",),
    environment_overrides={"staging": True, "demo": 25.07},
    starts_at=NOON,
    expires_at=NOON.replace(hour=13),
    rules=(FOR_PRO,),
    variants=(RED, BLUE),
    prerequisites=(Prerequisite(flag="other"),),
    stickiness="checkout",
    group="checkout",
    tags=("ui", "beta"),
    metadata={"owner": {"team": "web 👩‍🚀"}},
)


def nested(levels: int) -> Any:
    """Return that many objects and lists, one in the other."""
    value: Any = {}
    for level in range(levels - 1):
        value = {"a": value} if level % 2 else [value]
    return {"a": value} if isinstance(value, list) else value


def test_a_flag_in_order_has_no_complaint() -> None:
    assert complaints_about(GOOD) == {}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "New_Layout"),
        ("name", "new layout"),
        ("name", ".new"),
        ("name", "new..layout"),
        ("name", "new\n"),
        ("name", "n" * 256),
        ("description", "d" * 2001),
        ("description", "nul \x00"),
        ("description", "half \ud800"),
        ("percentage", -0.01),
        ("percentage", 100.01),
        ("percentage", 12.345),
        ("percentage", float("nan")),
        ("percentage", float("inf")),
        ("whitelist", ("",)),
        ("whitelist", (" a",)),
        ("whitelist", ("a\tb",)),
        ("whitelist", ("\ud800",)),
        ("whitelist", ("x" * 256,)),
        ("whitelist", ("a", "a")),
        ("whitelist", tuple(str(n) for n in range(10_001))),
        ("blacklist", ("a",)),
        ("blacklist", tuple(str(n) for n in range(10_001))),
        ("environments", ("Prod",)),
        ("environments", ("e" * 65,)),
        ("environments", ("prod", "prod")),
        ("environments", tuple(f"e{n}" for n in range(51))),
        ("environment_overrides", {"staging": 101}),
        ("environment_overrides", {"staging": 1.001}),
        ("environment_overrides", {"St aging": True}),
        ("expires_at", NOON),
        ("starts_at", datetime.fromisoformat("0001-01-01T00:00+14:00")),
        ("expires_at", datetime.fromisoformat("9999-12-31T23:59-14:00")),
        ("stickiness", "s" * 256),
        ("group", ""),
        ("group", "Check out"),
        ("group", "g" * 65),
        ("tags", ("a b",)),
        ("tags", tuple(f"t{n}" for n in range(21))),
        ("metadata", {"nan": float("nan")}),
        ("metadata", {"nul": "\x00"}),
        ("metadata", {"half": "\udfff"}),
        ("metadata", {"long": "x" * 16_384}),
        ("metadata", {"number": 2**64}),
        ("metadata", {"number": -(2**63) - 1}),
        ("metadata", nested(21)),
        ("metadata", nested(5_000)),
    ],
)
def test_a_broken_rule_names_its_field(field: str, value: Any) -> None:
    assert set(complaints_about(replace(GOOD, **{field: value}))) == {field}


def test_the_limits_themselves_are_allowed() -> None:
    ids = tuple(f"id-{n}" for n in range(10_000))
    limit = replace(
        GOOD,
        name="n" * 255,
        percentage=100.0,
        whitelist=ids,
        blacklist=("x" * 255,),
        starts_at=datetime.min.replace(tzinfo=UTC),
        expires_at=datetime.max.replace(tzinfo=UTC),
        rules=tuple(
            replace(
                FOR_PRO,
                name=f"{number:064}",
                conditions=(replace(PRO, attribute="a" * 64, values=("v" * 255,) * 1_000),) * 20,
                segments=tuple(f"s{place}" for place in range(20)),
                percentage=100.0,
            )
            for number in range(50)
        ),
        variants=tuple(
            Variant(name=f"{number:064}", weight=100_000, value="v" * 16_382)
            for number in range(50)
        ),
        prerequisites=tuple(Prerequisite(flag=f"f{number}") for number in range(20)),
        metadata={"most": 2**64 - 1, "least": -(2**63), "deep": nested(19)},
    )
    assert complaints_about(limit) == {}


def rules(*found: Rule) -> FlagDraft:
    return replace(GOOD, rules=found)


def conditions(*found: Condition) -> FlagDraft:
    return rules(replace(FOR_PRO, conditions=found))


def variants(*found: Variant) -> FlagDraft:
    return replace(GOOD, variants=found)


NAMED = "has a name of 1 to 64 characters and no space around it."


@pytest.mark.parametrize(
    ("draft", "field", "messages"),
    [
        (
            rules(*(replace(FOR_PRO, name=str(number)) for number in range(51))),
            *("rules", ["At most 50, not 51."]),
        ),
        (rules(FOR_PRO, FOR_PRO), "rules", ["Given twice: for pro."]),
        (rules(replace(FOR_PRO, name="")), "rules", [f"Rule 1 {NAMED}"]),
        (rules(FOR_PRO, replace(FOR_PRO, name=" r")), "rules", [f"Rule 2 {NAMED}"]),
        (rules(replace(FOR_PRO, name="n" * 65)), "rules", [f"Rule 1 {NAMED}"]),
        (rules(replace(FOR_PRO, name="a\nb")), "rules", [f"Rule 1 {NAMED}"]),
        (
            rules(replace(FOR_PRO, percentage=100.01)),
            *("rules", ["for pro: Must be from 0 to 100."]),
        ),
        (rules(replace(FOR_PRO, percentage=1.001)), "rules", ["for pro: At most two decimals."]),
        (
            rules(replace(FOR_PRO, percentage=float("nan"))),
            *("rules", ["for pro: Must be from 0 to 100."]),
        ),
        (
            rules(replace(FOR_PRO, conditions=(), segments=())),
            *("rules", ["for pro: At least one condition or segment."]),
        ),
        (
            rules(replace(FOR_PRO, segments=("a", "b", "a"))),
            *("rules", ["for pro: Given twice: a."]),
        ),
        (
            rules(replace(FOR_PRO, segments=tuple(f"s{number}" for number in range(21)))),
            *("rules", ["for pro: At most 20 segments."]),
        ),
        (conditions(*[PRO] * 21), "rules", ["for pro: At most 20 conditions, not 21."]),
        (
            conditions(replace(PRO, attribute="")),
            *("rules", [f"for pro: The attribute of a condition {NAMED}"]),
        ),
        (
            conditions(replace(PRO, attribute="a" * 65, values=())),
            "rules",
            [
                f"for pro: The attribute of a condition {NAMED}",
                f"for pro: {'a' * 65}: At least one value.",
            ],
        ),
        (
            conditions(replace(PRO, attribute="", values=())),
            "rules",
            [
                f"for pro: The attribute of a condition {NAMED}",
                "for pro: a condition: At least one value.",
            ],
        ),
        (
            conditions(replace(PRO, values=tuple(str(number) for number in range(1_001)))),
            *("rules", ["for pro: plan: At most 1,000 values."]),
        ),
        *(
            (
                conditions(replace(PRO, values=("pro", value))),
                *("rules", ["for pro: plan: A value is too long or cannot be shown."]),
            )
            for value in ("v" * 256, "a\0", "\ud800", "a\tb")
        ),
        *(
            (
                conditions(replace(PRO, operator=operator, values=("1", "2"))),
                *("rules", [f"for pro: plan: One value only for {operator}."]),
            )
            for operator in sorted(SINGLE_VALUE)
        ),
        *(
            (
                conditions(replace(PRO, operator=operator, values=(value,))),
                *("rules", [f"for pro: plan: {value!r} is no {kind}."]),
            )
            for operators, value, kind in (
                ("gt gte lt lte", "ten", "number"),
                ("gt gte lt lte", "1e999", "number"),
                ("before after", "2026-13-01", "time, such as 2026-11-22"),
                ("semver_eq semver_gt semver_lt", "2.10", "version, such as 2.10.0"),
            )
            for operator in map(Operator, operators.split())
        ),
        (
            conditions(replace(PRO, operator=Operator.MATCHES, values=("(",))),
            *("rules", ["for pro: plan: Is no regular expression: missing ): (."]),
        ),
        (
            variants(*(replace(RED, name=str(number)) for number in range(51))),
            *("variants", ["At most 50, not 51."]),
        ),
        (variants(RED, RED), "variants", ["Given twice: red."]),
        (variants(RED, replace(RED, name="")), "variants", [f"Variant 2 {NAMED}"]),
        (
            variants(RED, replace(BLUE, weight=-1)),
            *("variants", ["blue: A weight is a whole number from 0 to 100,000."]),
        ),
        (
            variants(replace(RED, weight=100_001)),
            *("variants", ["red: A weight is a whole number from 0 to 100,000."]),
        ),
        (variants(BLUE), "variants", ["At least one needs a weight above 0."]),
        (
            variants(replace(RED, value=float("nan"))),
            *("variants", ["red: Must be a JSON value."]),
        ),
        (
            variants(replace(RED, value=nested(21))),
            *("variants", ["red: At most 20 levels deep."]),
        ),
        (
            variants(replace(RED, value="\0")),
            *("variants", ["red: Holds characters that cannot be shown."]),
        ),
        (
            variants(replace(RED, value="v" * 16_384)),
            *("variants", ["red: At most 16,384 characters."]),
        ),
        (
            variants(replace(RED, value=[2**64])),
            *("variants", ["red: Holds a whole number of more than 64 bits."]),
        ),
        (
            replace(GOOD, prerequisites=tuple(Prerequisite(flag=f"f{n}") for n in range(21))),
            *("prerequisites", ["At most 20, not 21."]),
        ),
        (
            replace(
                GOOD,
                prerequisites=(Prerequisite(flag="f"), Prerequisite(flag="f", enabled=False)),
            ),
            *("prerequisites", ["Given twice: f."]),
        ),
    ],
)
def test_what_is_wrong_with_a_part_names_the_part(
    draft: FlagDraft, field: str, messages: list[str]
) -> None:
    assert complaints_about(draft) == {field: messages}


@pytest.mark.parametrize(
    "condition",
    [
        replace(PRO, operator=Operator.MATCHES, values=(r"^user-\d+$",)),
        replace(PRO, operator=Operator.GT, values=("1e3",)),
        replace(PRO, operator=Operator.BEFORE, values=("2026-11-22",)),
        replace(PRO, operator=Operator.SEMVER_LT, values=("2.10.0-rc.1+b",)),
        replace(PRO, operator=Operator.CONTAINS, values=("@acme.", "@other.")),
        replace(PRO, operator=Operator.EQUALS, values=("",)),
        replace(PRO, attribute="e-mail of the émigré", negate=True),
    ],
)
def test_what_an_operator_can_read_has_no_complaint(condition: Condition) -> None:
    assert complaints_about(conditions(condition)) == {}


KNOWN = References(
    prerequisites={"other": [], "a": ["b"], "b": ["c"], "c": [], GOOD.name: []},
    segments=["press", "team"],
    groups=["checkout"],
)


def building_on(*names: str) -> FlagDraft:
    return replace(GOOD, prerequisites=tuple(Prerequisite(flag=name) for name in names))


@pytest.mark.parametrize(
    ("draft", "errors"),
    [
        (GOOD, {}),
        (replace(GOOD, group=None, rules=(), prerequisites=()), {}),
        (replace(GOOD, group="gone"), {"group": ["There is no group gone."]}),
        (
            rules(
                replace(FOR_PRO, segments=("press", "gone")),
                replace(FOR_PRO, segments=("team", "away", "gone")),
            ),
            {"rules": ["There is no segment away, gone."]},
        ),
        (
            rules(replace(FOR_PRO, segments=("s1", "s2", "s3", "s4", "s5"))),
            {"rules": ["There is no segment s1, s2, s3 and 2 more."]},
        ),
        (building_on("other", "gone"), {"prerequisites": ["There is no flag gone."]}),
        (building_on("a", "b", "c", "other"), {}),
        (
            replace(building_on("gone"), group="gone", rules=(replace(FOR_PRO, segments=("x",)),)),
            {
                "group": ["There is no group gone."],
                "prerequisites": ["There is no flag gone."],
                "rules": ["There is no segment x."],
            },
        ),
    ],
)
def test_what_a_flag_refers_to_must_be_there(
    draft: FlagDraft, errors: dict[str, list[str]]
) -> None:
    assert complaints_about_references(draft, KNOWN) == errors


@pytest.mark.parametrize(
    ("graph", "names", "path"),
    [
        ({"f": []}, ("f",), "f → f"),
        ({"f": [], "a": ["f"]}, ("a",), "f → a → f"),
        ({"f": [], "a": ["b"], "b": ["f"]}, ("a",), "f → a → b → f"),
        ({"f": [], "a": ["b"], "b": ["c"], "c": ["f"]}, ("a",), "f → a → b → c → f"),
        ({"f": [], "a": [], "b": ["f"]}, ("a", "b"), "f → b → f"),
        ({"f": ["a"], "a": ["b"], "b": ["a"]}, ("b",), None),
        ({"f": [], "a": ["c"], "b": ["c"], "c": []}, ("a", "b"), None),
        ({"f": ["a"], "a": []}, ("a",), None),
    ],
    ids=["itself", "two", "three", "four", "the second", "of others", "a diamond", "none"],
)
def test_prerequisites_that_lead_in_a_circle_are_told_with_their_path(
    graph: dict[str, list[str]], names: tuple[str, ...], path: str | None
) -> None:
    draft = replace(building_on(*names), name="f")
    known = KNOWN._replace(prerequisites=graph)
    wanted = {"prerequisites": [f"Leads in a circle: {path}."]} if path else {}
    assert complaints_about_references(draft, known) == wanted


def chain(length: int) -> dict[str, list[str]]:
    """Return flags c1, c2, ... each of which builds on the one before."""
    return {f"c{number}": [f"c{number - 1}"] if number > 1 else [] for number in range(1, length)}


@pytest.mark.parametrize(
    ("graph", "needed", "complaint"),
    [
        (chain(100), "c99", None),
        (chain(101), "c100", "To decide f, 101 flags would be asked; at most 100 may be."),
        # Each asks the one below twice: by itself, and by its neighbour.
        (
            {"l0": []} | {f"l{n}": [f"l{m}" for m in range(n)] for n in range(1, 7)},
            "l6",
            None,
        ),
        (
            {"l0": []} | {f"l{n}": [f"l{m}" for m in range(n)] for n in range(1, 8)},
            "l7",
            "To decide f, 129 flags would be asked; at most 100 may be.",
        ),
        # What others have built on this one counts for them.
        (
            chain(61) | {"f": [], "d1": ["f"]} | {f"d{n}": [f"d{n - 1}"] for n in range(2, 50)},
            "c60",
            "To decide d49, 110 flags would be asked; at most 100 may be.",
        ),
    ],
    ids=["a long chain", "too long a chain", "a ladder", "too high a ladder", "for its builders"],
)
def test_what_one_evaluation_decides_has_a_bound(
    graph: dict[str, list[str]], needed: str, complaint: str | None
) -> None:
    draft = replace(building_on(needed), name="f")
    known = KNOWN._replace(prerequisites=graph)
    wanted = {"prerequisites": [complaint]} if complaint else {}
    assert complaints_about_references(draft, known) == wanted


@pytest.mark.parametrize(
    ("draft", "errors"),
    [
        (SegmentDraft(name="press", description="Two\nlines.", conditions=(PRO,)), {}),
        (SegmentDraft(name="press", conditions=(PRO,) * 20), {}),
        (
            SegmentDraft(name="Press room", description="d" * 2_001),
            {
                "name": ["Lower-case words of at most 64 characters, unlike Press room."],
                "description": ["At most 2,000 characters, not 2,001."],
                "conditions": ["At least one condition."],
            },
        ),
        (
            SegmentDraft(name="press", conditions=(PRO,) * 21),
            {"conditions": ["At most 20 conditions, not 21."]},
        ),
        (
            SegmentDraft(name="press", conditions=(PRO, replace(PRO, values=()))),
            {"conditions": ["plan: At least one value."]},
        ),
    ],
)
def test_a_segment_is_held_to_the_rules_of_conditions(
    draft: SegmentDraft, errors: dict[str, list[str]]
) -> None:
    assert complaints_about_segment(draft) == errors


@pytest.mark.parametrize(
    ("draft", "fields"),
    [
        (GroupDraft(name="checkout", description="Paying."), set()),
        (GroupDraft(name="g" * 64), set()),
        (GroupDraft(name=""), {"name"}),
        (GroupDraft(name="g" * 65), {"name"}),
        (GroupDraft(name="check out", description="nul \0"), {"name", "description"}),
    ],
)
def test_a_group_has_a_name_and_a_description(draft: GroupDraft, fields: set[str]) -> None:
    assert set(complaints_about_group(draft)) == fields
