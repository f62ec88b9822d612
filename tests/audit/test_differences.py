"""How much of a change is told."""

from datetime import datetime
from typing import Any

import pytest

from webapp.audit.differences import SHOWN_ROWS, brief, in_short, told
from webapp.audit.values import Entry, FieldChange

PRO = {
    "name": "pro",
    "conditions": [{"attribute": "plan", "operator": "in", "values": ["pro"], "negate": False}],
    "segments": [],
    "percentage": 25,
}
STAFF = {"name": "staff", "conditions": [], "segments": ["employees"], "percentage": 100.0}
CONDITION_TEXT = "{attribute: plan, operator: in, values: [pro], negate: false}"
PRO_TEXT = f"conditions: [{CONDITION_TEXT}], percentage: 25"
STAFF_TEXT = "segments: [employees], percentage: 100"
MANY = [f"user-{number}" for number in range(10_000)]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (10, 25, (10, 25)),
        (None, "on", (None, "on")),
        ([], ["a"], ([], ["a"])),
        ("x" * 900, "", ("x" * 400 + "…", "")),
        (MANY, MANY[1:], ("10,000 entries, 1 removed: user-0", "9,999 entries")),
        (MANY, [*MANY, "z"], ("10,000 entries", "10,001 entries, 1 added: z")),
        (None, MANY[:11], (None, "11 entries, 11 added: " + ", ".join(MANY[:10]) + " and 1 more")),
        (
            [],
            list(range(11)),
            ("0 entries", "11 entries, 11 added: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 1 more"),
        ),
    ],
)
def test_a_long_list_is_told_by_what_it_lost_and_gained(
    old: Any, new: Any, told: tuple[Any, Any]
) -> None:
    change = brief(FieldChange("whitelist", old, new))
    assert (change.old, change.new) == told


# (both values of the field "rules", the lines that tell of it: path, old, new)
Rows = list[tuple[str, Any, Any]]


@pytest.mark.parametrize(
    ("old", "new", "rows"),
    [
        # One thing deep inside.
        ([PRO], [PRO | {"percentage": 50}], [("rules.pro.percentage", 25, 50)]),
        (
            [PRO, STAFF],
            [PRO, STAFF | {"segments": []}],
            [("rules.staff.segments", ["employees"], [])],
        ),
        # Whole parts.
        ([STAFF], [STAFF, PRO], [("rules.pro added", None, PRO_TEXT)]),
        ([PRO, STAFF], [PRO], [("rules.staff removed", STAFF_TEXT, None)]),
        ([], [{"name": "all"}], [("rules.all added", None, {})]),
        (None, [STAFF], [("rules.staff added", None, STAFF_TEXT)]),
        ([STAFF], None, [("rules.staff removed", STAFF_TEXT, None)]),
        # The first rule that fits decides, so their order tells too, that of the keys does not.
        ([PRO, STAFF], [STAFF, PRO], [("rules in order", "pro, staff", "staff, pro")]),
        ({"a": 1, "b": 2}, {"b": 2, "a": 3}, [("rules.a", 1, 3)]),
        # By what else they go by, or by their place.
        (
            [{"flag": "ui.beta", "enabled": True}],
            [{"flag": "ui.beta", "enabled": False}],
            [("rules.ui.beta.enabled", True, False)],
        ),
        (
            [{"at": 1, "to": 5}, {"at": 2}],
            [{"at": 1, "to": 9}, {"at": 2}, {"at": 3}],
            [("rules 1.to", 5, 9), ("rules added", None, "at: 3")],
        ),
        ([{"at": 1}, {"at": 2}], [{"at": 2}], [("rules removed", "at: 1", None)]),
        (None, [{"at": 1}], [("rules added", None, "at: 1")]),
        # Names that stand twice are no names.
        (
            [{"name": "a", "x": 1}],
            [{"name": "a", "x": 1}, {"name": "a", "x": 2}],
            [("rules added", None, "name: a, x: 2")],
        ),
        # Mappings.
        ({}, {"staging": True}, [("rules.staging added", None, True)]),
        ({"staging": 12.5}, {}, [("rules.staging removed", 12.5, None)]),
        ({"a": {"b": {"c": "x"}}}, {"a": {"b": {"c": "y"}}}, [("rules.a.b.c", "x", "y")]),
        ({"a": 1}, {"a": True}, [("rules.a", 1, True)]),
        ({"a": None}, {"a": {"b": 1}}, [("rules.a.b added", None, 1)]),
        # Of different kinds, or without anything to tell of inside.
        ("off", {"a": 1.0, "b": [2]}, [("rules", "off", "a: 1, b: [2]")]),
        ("abc", [{"at": 1}], [("rules", "abc", "{at: 1}")]),
        (None, {}, [("rules", None, {})]),
        (
            [{"at": 1}, {"at": 2}],
            [{"at": 2}, {"at": 1}],
            [("rules", "{at: 1}, {at: 2}", "{at: 2}, {at: 1}")],
        ),
        # What is long stays short.
        (
            {"ids": MANY},
            {"ids": MANY[1:]},
            [("rules.ids", "10,000 entries, 1 removed: user-0", "9,999 entries")],
        ),
        ({}, {"note": "x" * 900}, [("rules.note added", None, "x" * 400 + "…")]),
    ],
)
def test_nested_values_are_told_by_what_differs_in_them(old: Any, new: Any, rows: Rows) -> None:
    lines = told(FieldChange("rules", old, new))
    assert [(line.field, line.old, line.new) for line in lines] == rows


def test_a_great_many_differences_are_counted() -> None:
    numbers = {str(number): number for number in range(SHOWN_ROWS + 5)}
    lines = told(FieldChange("metadata", {}, numbers))
    assert lines[-2] == FieldChange("metadata.9 added", None, 9)
    assert lines[-1] == FieldChange("metadata", None, "and 5 more")


def test_an_entry_in_short_tells_all_its_fields(now: datetime) -> None:
    changes = (FieldChange("enabled", False, True), FieldChange("rules", [PRO, STAFF], []))
    entry = Entry(
        id=1,
        at=now,
        actor_kind="user",
        actor="anna",
        action="flag.updated",
        subject="flag",
        name="beta",
        reason="",
        changes=changes,
        request_id=None,
        hash="0" * 64,
    )
    fields = [change.field for change in in_short(entry).changes]
    assert fields == ["enabled", "rules.pro removed", "rules.staff removed"]
