"""Files of flagd become flags; what no flag does alike is left out as a whole, and says why."""

import json
from typing import Any, Final

import pytest

from tests.conftest import NOW
from webapp.adoptions.adoption import Adoption
from webapp.adoptions.from_flagd import adopt_flagd
from webapp.adoptions.schemas import FlagdFile
from webapp.flags.tables import FlagTables
from webapp.flags.values import EvaluationContext, FlagDefinition, FlagSet

Json = Any


def adopted(flags: Json, environment: str | None = None, **more: Any) -> Adoption:
    file = FlagdFile.model_validate_json(json.dumps({"flags": flags} | more))
    return adopt_flagd(file, environment)


def boolean(targeting: Json = None, default: str | None = "off", **more: Any) -> Json:
    variants = {"on": True, "off": False}
    flag = {"state": "ENABLED", "variants": variants, "targeting": targeting}
    return flag | {"defaultVariant": default} | more


def var(name: str) -> Json:
    return {"var": name}


PRO: Final = {"in": [var("plan"), ["pro", "team"]]}
TESTERS: Final = {"in": [var("targetingKey"), ["ada", "bob"]]}
MAIL: Final = {"ends_with": [var("mail"), "@example.org"]}
HALF: Final = {"fractional": [["on", 50], ["off", 50]]}
# Whoever is asked about: a name and attributes.
PEOPLE: Final[dict[str, dict[str, Any]]] = {
    "ada": {},
    "bob": {"plan": "pro"},
    "eve": {"plan": "pro", "mail": "eve@example.org", "seats": 12, "version": "2.0.0"},
    "joe": {"plan": "free", "mail": "joe@example.net", "seats": 3, "version": "1.9.0"},
    "kim": {"plan": "team", "seats": "10", "beta": True, "version": "2.0.0-rc.1"},
}


def answers(flag: Json, **more: Any) -> dict[str, bool]:
    """Whom the flag is on for once it is taken over."""
    adoption = adopted({"f": flag}, **more)
    assert adoption.left_out == {}
    kinds = FlagDefinition.__dataclass_fields__.keys() - {"name"}
    given = {key: value for key, value in adoption.flags["f"].given().items() if key in kinds}
    found = FlagSet(1, {"f": FlagDefinition(name="f", **given)}, {})
    compiled = FlagTables(found, "any", None).table(None).find("f")
    assert compiled is not None
    return {
        name: compiled.ask(EvaluationContext(name, "any", NOW, attributes)).enabled
        for name, attributes in PEOPLE.items()
    }


def those(flag: Json, **more: Any) -> set[str]:
    return {name for name, on in answers(flag, **more).items() if on}


ALL: Final = set(PEOPLE)
# As flagd decides them.
DECIDED: Final[dict[str, tuple[Json, set[str]]]] = {
    "on": (boolean(default="on"), ALL),
    "off": (boolean(), set()),
    "without a default": (boolean(default=None), set()),
    "empty targeting": (boolean({}, "on"), ALL),
    "disabled": (boolean(default="on", state="DISABLED"), set()),
    "if": (boolean({"if": [PRO, "on", "off"]}), {"bob", "eve", "kim"}),
    "if, else the default": (boolean({"if": [PRO, "on"]}), {"bob", "eve", "kim"}),
    "if, else nothing": (boolean({"if": [PRO, "on", None]}), {"bob", "eve", "kim"}),
    "if not": (boolean({"if": [PRO, "off", "on"]}), {"ada", "joe"}),
    "named": (boolean({"if": [TESTERS, "on", "off"]}), {"ada", "bob"}),
    "named, not": (boolean({"if": [TESTERS, "off", "on"]}), {"eve", "joe", "kim"}),
    "one named": (boolean({"if": [{"==": [var("targetingKey"), "ada"]}, "on", "off"]}), {"ada"}),
    "named, not, then some": (
        boolean({"if": [TESTERS, "off", {"if": [PRO, "on", "off"]}]}),
        {"eve", "kim"},
    ),
    "chain": (boolean({"if": [TESTERS, "on", MAIL, "on", "off"]}), {"ada", "bob", "eve"}),
    "and": (boolean({"if": [{"and": [PRO, MAIL]}, "on", "off"]}), {"eve"}),
    "or": (boolean({"if": [{"or": [TESTERS, MAIL]}, "on", "off"]}), {"ada", "bob", "eve"}),
    "and of or": (
        boolean({"if": [{"and": [PRO, {"or": [MAIL, {"<": [var("seats"), 11]}]}]}, "on", "off"]}),
        {"eve", "kim"},
    ),
    "not": (boolean({"if": [{"!": [PRO]}, "on", "off"]}), {"ada", "joe"}),
    "unlike": (boolean({"if": [{"!=": [var("plan"), "pro"]}, "on", "off"]}), {"ada", "joe", "kim"}),
    "nested": (boolean({"if": [PRO, {"if": [MAIL, "on", "off"]}, "off"]}), {"eve"}),
    "contains": (boolean({"if": [{"in": ["example", var("mail")]}, "on", "off"]}), {"eve", "joe"}),
    "starts": (boolean({"if": [{"starts_with": [var("mail"), "joe"]}, "on", "off"]}), {"joe"}),
    "more": (boolean({"if": [{">=": [var("seats"), 10]}, "on", "off"]}), {"eve", "kim"}),
    "more, turned": (boolean({"if": [{"<": [10, var("seats")]}, "on", "off"]}), {"eve"}),
    "true": (boolean({"if": [{"==": [var("beta"), True]}, "on", "off"]}), {"kim"}),
    "newer": (
        boolean({"if": [{"sem_ver": [var("version"), ">=", "2.0.0"]}, "on", "off"]}),
        {"eve"},
    ),
    "older": (
        boolean({"if": [{"sem_ver": [var("version"), "<", "2.0.0"]}, "on", "off"]}),
        {"joe", "kim"},
    ),
    "share of nobody": (boolean({"fractional": [["on", 0], ["off", 10]]}, "on"), set()),
    "share of all": (boolean({"fractional": [["on", 1]]}), ALL),
    "share of some": (
        boolean({"if": [PRO, {"fractional": [["on", 1], ["off", 0]]}, "off"]}),
        {"bob", "eve", "kim"},
    ),
    "more for some": (
        boolean({"if": [PRO, "on", {"fractional": [["off", 1]]}]}),
        {"bob", "eve", "kim"},
    ),
    "names of its own": (
        {
            "state": "ENABLED",
            "variants": {"true": True, "false": False},
            "defaultVariant": "false",
            "targeting": PRO,
        },
        {"bob", "eve", "kim"},
    ),
}


@pytest.mark.parametrize("case", DECIDED.values(), ids=DECIDED)
def test_a_flag_is_on_for_whom_it_was(case: tuple[Json, set[str]]) -> None:
    flag, expected = case
    assert those(flag) == expected


def test_what_flags_share_is_put_where_they_refer_to_it() -> None:
    evaluators = {"paying": PRO, "whole": {"if": [{"$ref": "paying"}, "on", "off"]}}
    for targeting in ({"if": [{"$ref": "paying"}, "on", "off"]}, {"$ref": "whole"}):
        found = those(boolean(targeting), **{"$evaluators": evaluators})
        assert found == {"bob", "eve", "kim"}


def test_shares_are_taken_over_by_their_size() -> None:
    key = {"cat": [var("$flagd.flagKey"), var("targetingKey")]}
    for shares in (HALF, {"fractional": [key, ["on", 50], ["off", 50]]}):
        adoption = adopted({"f": boolean(shares)})
        assert adoption.flags["f"].percentage == 50.0
        assert adoption.notes["f"][0].startswith("Shares are of the same size")
    rising = boolean({"if": [PRO, {"fractional": [["on", 3], ["off", 1]]}, HALF]})
    changes = adopted({"f": rising}).flags["f"]
    (rule,) = changes.given()["rules"]
    assert (changes.percentage, rule.percentage) == (50.0, 75.0)


def test_other_values_become_variants() -> None:
    texts = {"red": "#f00", "blue": "#00f"}
    flag = {"state": "ENABLED", "variants": texts, "defaultVariant": "blue"}
    changes = adopted({"f": flag}).flags["f"]
    assert changes.percentage == 100.0
    assert [(item.name, item.weight, item.value) for item in changes.given()["variants"]] == [
        ("red", 0, "#f00"),
        ("blue", 1, "#00f"),
    ]
    weighed = flag | {"targeting": {"fractional": [["red", 3], ["blue", 1]]}}
    adoption = adopted({"f": weighed})
    assert [item.weight for item in adoption.flags["f"].given()["variants"]] == [3, 1]
    assert len(adoption.notes["f"]) == 1
    nothing = adopted({"f": flag | {"defaultVariant": None}}).flags["f"]
    assert (nothing.percentage, nothing.variants) == (0.0, ())


def test_what_is_said_of_a_flag_comes_along() -> None:
    flag = boolean(default="on", state="DISABLED", metadata={"team": "shop"})
    adoption = adopted({"f": flag}, "staging")
    changes = adoption.flags["f"]
    assert changes.metadata == {"flagd": {"team": "shop"}}
    assert (changes.enabled, changes.percentage) == (False, 100.0)
    assert changes.environments == ("staging",)
    assert adoption.notes["f"] == ["It is off; there the caller's default stood."]


DEEP: Json = "on"
for _ in range(40):
    DEEP = {"if": [PRO, DEEP, "off"]}
WIDE: Final = {"or": [{"==": [var("plan"), str(number)]} for number in range(9)]}
LEFT_OUT: Final[dict[str, tuple[Json, str]]] = {
    "less for who fits": (
        boolean({"if": [PRO, HALF, "on"]}),
        "Who fits its targeting gets less than who does not.",
    ),
    "off for several things": (
        boolean({"if": [{"and": [PRO, MAIL]}, "off", "on"]}),
        "It is off for whom several things hold.",
    ),
    "off after on": (
        boolean({"if": [PRO, "on", TESTERS, "off", "on"]}),
        "It is off for some subjects in one place, and not in another.",
    ),
    "turned round": (
        boolean({"if": [{"!": [MAIL]}, "on", "off"]}),
        "It turns a comparison by ends_with round.",
    ),
    "named, and more": (
        boolean({"if": [{"and": [TESTERS, PRO]}, "on", "off"]}),
        "It names subjects and asks for more than that.",
    ),
    "share of those named": (
        boolean({"if": [TESTERS, HALF, "off"]}),
        "It names subjects and asks for more than that.",
    ),
    "like a subject": (
        boolean({"if": [{"starts_with": [var("targetingKey"), "a"]}, "on", "off"]}),
        "It compares subjects otherwise than by name.",
    ),
    "time": (
        boolean({"if": [{">": [var("$flagd.timestamp"), 1]}, "on", "off"]}),
        "It looks at $flagd.timestamp, which is no plain attribute.",
    ),
    "path": (
        boolean({"if": [{"==": [var("user.plan"), "pro"]}, "on", "off"]}),
        "It looks at user.plan, which is no plain attribute.",
    ),
    "arithmetic": (
        boolean({"if": [{"==": [{"%": [var("n"), 2]}, 0]}, "on", "off"]}),
        "It compares something that is no attribute.",
    ),
    "truth": (boolean({"if": [var("beta"), "on", "off"]}), "Nothing here compares as var does."),
    "range": (
        boolean({"if": [{"sem_ver": [var("version"), "^", "1.0.0"]}, "on", "off"]}),
        "Nothing here compares as sem_ver does.",
    ),
    "no range": (
        boolean({"if": [{"sem_ver": [var("version"), ["="], "1.0.0"]}, "on", "off"]}),
        "Nothing here compares as sem_ver does.",
    ),
    "between": (
        boolean({"if": [{"<": [1, var("n"), 3]}, "on", "off"]}),
        "Nothing here compares as < does.",
    ),
    "in a text": (
        boolean({"if": [{"in": [var("plan"), "pro,team"]}, "on", "off"]}),
        "It looks for an attribute in a text.",
    ),
    "no plain value": (
        boolean({"if": [{"==": [var("plan"), None]}, "on", "off"]}),
        "It compares with something that is no plain value.",
    ),
    "no such variant": (boolean({"if": [PRO, "yes", "off"]}), "It has no variant 'yes'."),
    "no such default": (boolean(default="yes"), "It has no variant 'yes'."),
    "no variants": (boolean(variants={}), "It has no variants."),
    "no evaluator": (boolean({"$ref": "gone"}), "There is no evaluator 'gone'."),
    "shares of something else": (
        boolean({"fractional": [var("mail"), ["on", 1], ["off", 1]]}),
        "Its shares are not of subjects.",
    ),
    "shares that are none": (boolean({"fractional": ["on", "off"]}), "Its shares cannot be read."),
    "part of a weight": (
        boolean({"fractional": [["on", 0.5], ["off", 1]]}),
        "A weight is no whole number.",
    ),
    "values by targeting": (
        {
            "state": "ENABLED",
            "variants": {"red": "#f00", "blue": "#00f"},
            "defaultVariant": "red",
            "targeting": {"if": [PRO, "blue", "red"]},
        },
        "Whom it gives which value depends on more than weights.",
    ),
    "a number": (boolean(7), "Its targeting cannot be read."),
    "a list": (boolean([PRO]), "Its targeting cannot be read."),
    "no list": (boolean({"if": "on"}), "Its targeting cannot be read."),
    "and of no list": (boolean({"if": [{"and": 1}, "on"]}), "Its targeting cannot be read."),
    "two at once": (boolean({"if": [PRO, "on"], "or": []}), "Its targeting cannot be read."),
    "deep": (boolean(DEEP), "Its targeting is too deep."),
    "wide": (
        boolean({"if": [{"and": [WIDE, WIDE]}, "on", "off"]}),
        "Its targeting has too many cases.",
    ),
    "itself": (boolean({"$ref": "circle"}), "Its targeting is too deep."),
}


@pytest.mark.parametrize("case", LEFT_OUT.values(), ids=LEFT_OUT)
def test_what_no_flag_does_alike_is_left_out_and_says_why(case: tuple[Json, str]) -> None:
    flag, reason = case
    circle: Json = {"$evaluators": {"circle": {"$ref": "circle"}}}
    adoption = adopted({"f": flag, "g": boolean()}, **circle)
    assert adoption.left_out == {"f": [reason]}
    assert set(adoption.flags) == {"g"}


def test_names_that_no_flag_may_bear_are_left_out() -> None:
    adoption = adopted({"NewLayout": boolean(), "groups": boolean(), "fine": boolean()})
    assert set(adoption.flags) == {"fine"}
    assert set(adoption.left_out) == {"NewLayout", "groups"}
