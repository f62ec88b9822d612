"""How much of a change is told."""

from typing import Any

import pytest

from webapp.audit.differences import brief
from webapp.audit.values import FieldChange

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
