"""When a condition holds: each operator, and what is missing, unreadable, a list or a number."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, NamedTuple

import pytest

from webapp.flags.targeting import (
    compile_condition,
    compile_rule,
    moment_of,
    number_of,
    pattern_of,
    version_of,
)
from webapp.flags.values import SINGLE_VALUE, Condition, Operator, Rule

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
# The first whole number after which not every other is a float.
BEYOND_FLOATS = 2**53
HALF = "half \ud800"
NO_TEXT: tuple[Any, ...] = ({}, {"plan": "pro"}, b"pro", Decimal(7))
NO_NUMBER: tuple[Any, ...] = (
    *("", "ten", "1_000", "0x10", "1e999", "nan", "inf", "\u0663", "1,5", "9" * 101, HALF),
    *(True, False, float("nan"), float("inf"), b"7", {}, NOON),
)
NO_TIME: tuple[Any, ...] = ("", "soon", "2026-13-01", "1795348800", 1795348800, 1.5, True, {}, HALF)
NO_VERSION: tuple[Any, ...] = (
    *("", "1", "1.2", "v1.2.3", "01.2.3", "1.2.3-", "one", HALF),
    *(1, 1.2, True, {}, NOON),
)


class Case(NamedTuple):
    """An operator with values, and attributes that it fits, does not fit, and cannot read."""

    operator: Operator
    values: tuple[str, ...]
    fits: tuple[Any, ...]
    differs: tuple[Any, ...]
    unreadable: tuple[Any, ...]


CASES = [
    Case(
        Operator.IN,
        ("pro", "7", "true", "2.5", ""),
        ("pro", "7", 7, 7.0, True, "true", 2.5, "2.5", ""),
        ("Pro", "pr", " pro", "7.0", 8, -7, 2.25, False, "True", HALF, float("nan")),
        NO_TEXT,
    ),
    Case(
        Operator.NOT_IN,
        ("pro", "7", "true", "2.5"),
        ("Pro", "", 8, 2.25, False, "True", HALF),
        ("pro", "7", 7, 7.0, True, 2.5),
        NO_TEXT,
    ),
    Case(
        Operator.EQUALS,
        ("pro", "7", "true", "1e3"),
        ("pro", "7", 7, 7.0, True, "true", "1e3", 1000, 1000.0),
        ("Pro", "7.0", "1000", 8, 7.5, 1, False, "", HALF, float("nan")),
        NO_TEXT,
    ),
    Case(
        Operator.CONTAINS,
        ("@acme.", "77", "ru"),
        ("mira@acme.test", "@acme.", 1771, -77, 77.0, 0.77, True, "tru", "\ud800ru"),
        ("mira@ACME.test", "", 7, 7.7, False, HALF),
        NO_TEXT,
    ),
    Case(
        Operator.STARTS_WITH,
        ("de-", "77", "tr", "-1"),
        ("de-AT", "de-", 77, 771.5, True, -12, "-1.5"),
        ("at-de-", "d", "", 177, False, HALF),
        NO_TEXT,
    ),
    Case(
        Operator.ENDS_WITH,
        (".test", "77", "ue"),
        ("acme.test", 177, 0.77, 77.0, True),
        ("acme.test ", "test", "", 771, False, HALF),
        NO_TEXT,
    ),
    Case(
        Operator.MATCHES,
        (r"^(\d+|true|user-\d{2,}|émigré)$",),
        ("user-42", "émigré", 7, 7.0, True, "007"),
        ("user-4", "a user-42", "USER-42", "", -7, 7.5, False),
        (*NO_TEXT, HALF),
    ),
    Case(
        Operator.GT,
        ("10",),
        ("10.5", 11, 10.000001, "11", " 11 ", "+11", "1e2", 10**100, BEYOND_FLOATS),
        ("10", 10, 10.0, 9, "-11", "1e0", -(10**100)),
        NO_NUMBER,
    ),
    Case(Operator.GTE, ("10",), (10, 10.0, "10", "10.0", 11), (9, 9.999, "-10"), NO_NUMBER),
    Case(Operator.LT, (" -1.5 ",), (-2, "-1.51", -1e300), (-1.5, "-1.5", 0, ".5"), NO_NUMBER),
    Case(Operator.LTE, ("0",), (0, -0.0, "-0", "0.0", -1), (1, 1e-300, "1e-300"), NO_NUMBER),
    Case(
        Operator.BEFORE,
        ("2026-11-22T12:00:00Z",),
        (
            *("2026-11-22T11:59:59Z", "2026-11-22T13:59:59+02:00", "2026-11-22", " 2026-11-22 "),
            *("2026-11-22T11:59:59.999999", "20261122T115959Z", "0001-01-01T00:00+14:00"),
            *(NOON - timedelta(microseconds=1), (NOON - timedelta(hours=1)).replace(tzinfo=None)),
        ),
        (
            *("2026-11-22T12:00:00Z", "2026-11-22T14:00+02:00", "2026-11-23"),
            *(NOON, NOON.replace(tzinfo=None), "9999-12-31T23:59-14:00"),
        ),
        NO_TIME,
    ),
    Case(
        Operator.AFTER,
        ("2026-11-22",),
        ("2026-11-22T00:00:01", "2026-11-22T00:00-00:01", "2026-11-23", NOON),
        ("2026-11-22", "2026-11-22T00:00Z", "2026-11-22T00:30+01:00", "2025-12-31"),
        NO_TIME,
    ),
    Case(
        Operator.SEMVER_EQ,
        ("2.10.0",),
        ("2.10.0", " 2.10.0 ", "2.10.0+build.7"),
        ("2.1.0", "2.10.1", "2.10.0-rc.1"),
        NO_VERSION,
    ),
    Case(
        Operator.SEMVER_GT,
        ("2.10.0-rc.2",),
        ("2.10.0", "2.10.0-rc.10", "2.10.0-rc.2.0", "2.10.0-rca", "10.0.0-alpha"),
        ("2.10.0-rc.2", "2.10.0-rc.1", "2.10.0-beta.9", "2.9.99", "2.10.0-1", "2.10.0-rc.2+b"),
        NO_VERSION,
    ),
    Case(
        Operator.SEMVER_LT,
        ("2.10.0",),
        ("2.9.0", "2.10.0-rc.1", "0.0.0", "2.10.0-0"),
        ("2.10.0", "2.10.0+a", "2.11.0", "10.0.0-a"),
        NO_VERSION,
    ),
]
BY_OPERATOR = {case.operator: case for case in CASES}


def holds(case: Case, attributes: dict[str, Any], *, negate: bool = False) -> bool:
    condition = Condition(attribute="a", operator=case.operator, values=case.values, negate=negate)
    return compile_condition(condition)(attributes)


READABLE = [
    pytest.param(case, attribute, expected, id=f"{case.operator}-{attribute!a:.40}-{expected}")
    for case in CASES
    for expected, attributes in ((True, case.fits), (False, case.differs))
    for attribute in attributes
]


# Nothing, empty lists, lists of what cannot be read, and that itself.
UNREADABLE = [
    pytest.param(case, attribute, id=f"{case.operator}-{attribute!a:.40}")
    for case in CASES
    for attribute in (
        *(None, [], (), set(), [None], [case.unreadable[0]], [[case.fits[0]]]),
        *case.unreadable,
    )
]
every_operator = pytest.mark.parametrize("case", CASES, ids=[case.operator for case in CASES])


def test_every_operator_has_its_row() -> None:
    assert set(BY_OPERATOR) == set(Operator)
    assert {case.operator for case in CASES if len(case.values) == 1} == SINGLE_VALUE


@pytest.mark.parametrize(("case", "attribute", "expected"), READABLE)
def test_a_condition_says_whether_the_attribute_fits(
    case: Case, attribute: Any, expected: bool
) -> None:
    assert holds(case, {"a": attribute, "b": "other"}) is expected
    assert holds(case, {"a": attribute}, negate=True) is not expected


@pytest.mark.parametrize(("case", "attribute"), UNREADABLE)
def test_what_cannot_be_read_holds_for_not_in_only(case: Case, attribute: Any) -> None:
    assert holds(case, {"a": attribute}) is (case.operator is Operator.NOT_IN)
    assert not holds(case, {"a": attribute}, negate=True)


@every_operator
def test_a_missing_attribute_holds_for_not_in_only(case: Case) -> None:
    for attributes in ({}, {"b": case.fits[0]}):
        assert holds(case, attributes) is (case.operator is Operator.NOT_IN)
        assert not holds(case, attributes, negate=True)


@every_operator
def test_a_list_fits_where_one_of_its_items_does(case: Case) -> None:
    # What not_in looks for is what it must not find.
    negative = case.operator is Operator.NOT_IN
    hit, other = case.fits[0], case.differs[0]
    if negative:
        hit, other = other, hit
    unread = case.unreadable[0]
    for items, found in (
        ([hit], True),
        ([other, hit], True),
        ((hit, other), True),
        ({other, hit}, True),
        (frozenset([hit]), True),
        ([unread, None, hit], True),
        ([other], False),
        ([unread, other], False),
        ([other, other], False),
    ):
        assert holds(case, {"a": items}) is (found is not negative), items
        assert holds(case, {"a": items}, negate=True) is (found is negative), items


@pytest.mark.parametrize("attribute", [BEYOND_FLOATS + 1, str(BEYOND_FLOATS + 1)])
@pytest.mark.parametrize(
    ("operator", "value", "expected"),
    [
        (Operator.GT, BEYOND_FLOATS, True),
        (Operator.GT, BEYOND_FLOATS + 1, False),
        (Operator.GTE, BEYOND_FLOATS + 2, False),
        (Operator.LT, BEYOND_FLOATS + 2, True),
        (Operator.LTE, BEYOND_FLOATS, False),
        (Operator.EQUALS, BEYOND_FLOATS, False),
        (Operator.EQUALS, BEYOND_FLOATS + 1, True),
        (Operator.IN, BEYOND_FLOATS, False),
        (Operator.IN, BEYOND_FLOATS + 1, True),
    ],
)
def test_whole_numbers_are_compared_to_the_last_digit(
    attribute: Any, operator: Operator, value: int, expected: bool
) -> None:
    assert holds(Case(operator, (str(value),), (), (), ()), {"a": attribute}) is expected


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("7", 7),
        (" -7 ", -7),
        ("7.", 7.0),
        (".5", 0.5),
        ("1E3", 1000.0),
        (str(BEYOND_FLOATS + 1), BEYOND_FLOATS + 1),
        (10**200, 10**200),
        *((value, None) for value in (*NO_NUMBER, None, [7])),
    ],
)
def test_a_number_is_what_people_write_as_one(value: Any, number: float | None) -> None:
    read = number_of(value)
    assert (read, type(read)) == (number, type(number))


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("2026-11-22T12:00:00Z", NOON),
        ("2026-11-22T13:00+01:00", NOON),
        ("2026-11-22T12:00", NOON),
        (NOON.replace(tzinfo=None), NOON),
        (NOON.astimezone(timezone(timedelta(hours=5))), NOON),
        ("2026-11-22", NOON.replace(hour=0)),
        *((value, None) for value in (*NO_TIME, None)),
    ],
)
def test_a_time_without_a_zone_is_utc_and_a_day_its_first_moment(
    value: Any, moment: datetime | None
) -> None:
    assert moment_of(value) == moment


def test_versions_are_ordered_as_semver_says() -> None:
    # The example of semver.org's item 11, and numbers that text would order otherwise.
    ordered = [
        *("0.9.10", "1.0.0-2", "1.0.0-11", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta"),
        *("1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0", "1.0.1"),
        *("1.2.0", "1.10.0", "2.0.0"),
    ]
    for place, limit in enumerate(ordered):
        lower, equal, higher = (
            [
                version
                for version in ordered
                if holds(Case(operator, (limit,), (), (), ()), {"a": version})
            ]
            for operator in (Operator.SEMVER_LT, Operator.SEMVER_EQ, Operator.SEMVER_GT)
        )
        assert (lower, equal, higher) == (ordered[:place], [limit], ordered[place + 1 :])


@pytest.mark.parametrize("operator", [Operator.SEMVER_EQ, Operator.SEMVER_GT, Operator.SEMVER_LT])
@pytest.mark.parametrize(
    "attribute", ["9" * 5_000 + ".0.0", "1.0.0-" + "9" * 5_000, "1.0.0-a." + "9" * 5_000]
)
def test_a_version_with_endless_digits_is_an_answer_not_an_error(
    operator: Operator, attribute: str
) -> None:
    for value in ("1.0.0", "1.0.0-5", "1.0.0-a.5"):
        assert holds(Case(operator, (value,), (), (), ()), {"a": attribute}) in {True, False}


@pytest.mark.parametrize("case", CASES, ids=[case.operator for case in CASES])
def test_a_number_with_endless_digits_is_an_answer_not_an_error(case: Case) -> None:
    for attribute in (10**5_000, -(10**5_000), [10**5_000]):
        assert holds(case, {"a": attribute}) in {True, False}


@pytest.mark.parametrize(
    "pattern", ["(a+)+$", "(a|aa)+$", "(a*)*b", "(.*a){20}b", "^(a?){50}a{50}$"]
)
def test_a_pattern_that_explodes_elsewhere_answers(pattern: str) -> None:
    text = "a" * 100_000 + "!"
    assert not holds(Case(Operator.MATCHES, (pattern,), (), (), ()), {"a": text})


@pytest.mark.parametrize(
    ("pattern", "attribute", "expected"),
    [
        ("beta", "the beta of it", True),
        ("^beta", "the beta", False),
        ("(?i)BETA", "beta", True),
        ("^.$", "é", True),
        (r"^\pL+$", "émigré", True),
        ("", "", True),
        ("^$", "", True),
        ("a.b", "a\nb", False),
    ],
)
def test_a_pattern_is_searched_for_in_the_whole_text(
    pattern: str, attribute: str, expected: bool
) -> None:
    assert holds(Case(Operator.MATCHES, (pattern,), (), (), ()), {"a": attribute}) is expected


@pytest.mark.parametrize("text", ["(", "[a", "a{2,1}", "*", r"(a)\1", "(?=a)", "a{1001}", "\ud800"])
def test_what_re2_cannot_promise_to_search_in_time_is_no_pattern(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        pattern_of(text)


@pytest.mark.parametrize("value", [*NO_VERSION, None, ["1.2.3"]])
def test_what_semver_does_not_write_is_no_version(value: Any) -> None:
    assert version_of(value) is None


@pytest.mark.parametrize(
    ("segments", "attributes", "expected"),
    [
        ((), {"plan": "pro"}, True),
        ((), {"plan": "free"}, False),
        (("at",), {"plan": "pro", "country": "AT"}, True),
        (("at",), {"plan": "pro", "country": "DE"}, False),
        (("at",), {"country": "AT"}, False),
        (("at", "grown"), {"plan": "pro", "country": "AT", "age": 18}, True),
        (("at", "grown"), {"plan": "pro", "country": "AT", "age": 17}, False),
        (("everybody",), {"plan": "pro"}, True),
    ],
)
def test_a_rule_holds_where_all_its_conditions_and_segments_do(
    segments: tuple[str, ...], attributes: dict[str, Any], expected: bool
) -> None:
    known = {
        "at": (Condition(attribute="country", operator=Operator.EQUALS, values=("AT",)),),
        "grown": (Condition(attribute="age", operator=Operator.GTE, values=("18",)),),
        "everybody": (),
    }
    plan = Condition(attribute="plan", operator=Operator.IN, values=("pro", "team"))
    compiled = compile_rule(Rule(name="r", conditions=(plan,), segments=segments), known)
    assert compiled is not None
    assert all(test(attributes) for test in compiled) is expected


def test_a_rule_with_an_unknown_segment_is_none() -> None:
    assert compile_rule(Rule(name="r", segments=("gone",)), {"at": ()}) is None
