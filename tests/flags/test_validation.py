"""What a flag may hold: each rule names its field."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from webapp.flags.validation import complaints_about, complaints_about_reason
from webapp.flags.values import FlagDraft

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
    stickiness="checkout",
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
        metadata={"most": 2**64 - 1, "least": -(2**63), "deep": nested(19)},
    )
    assert complaints_about(limit) == {}


@pytest.mark.parametrize(
    ("reason", "fits"),
    [("Error rate is flat", True), ("", False), ("  ", False), ("r" * 501, False), ("\x00", False)],
)
def test_a_change_needs_a_reason(reason: str, fits: bool) -> None:
    assert (complaints_about_reason(reason) == []) is fits
