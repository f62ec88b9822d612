"""Two people and one flag: whose value of a field is to stand, as of course or by choice."""

from datetime import UTC, datetime
from typing import Any

import pytest

from webapp.audit.values import Change, Entry, FieldChange
from webapp.flags.conflicts import UNKNOWN, Side, before_changes, clashes_between, unsettled

MINE, THEIRS = Side.MINE, Side.THEIRS


@pytest.mark.parametrize(
    ("before", "theirs", "mine", "chosen", "choice"),
    [
        ({}, "a", "b", "", MINE),  # They left it alone.
        ({"f": "a"}, "b", "a", "", THEIRS),  # I left it alone.
        ({"f": "a"}, "b", "c", "", None),  # Both changed it.
        ({"f": "a"}, "a", "c", "", MINE),  # They changed it and changed it back.
        (None, "a", "b", "", None),  # Nobody knows.
        ({"f": None}, "b", None, "", THEIRS),  # It was not there before.
        ({"f": "a"}, "b", "c", "theirs", THEIRS),
        ({"f": "a"}, "b", "c", "mine", MINE),
        ({}, "a", "b", "theirs", THEIRS),
        ({"f": "a"}, "b", "c", "nobody's", None),
    ],
)
def test_a_field_that_only_one_changed_is_theirs_or_mine_until_somebody_chooses(
    before: dict[str, Any] | None, theirs: Any, mine: Any, chosen: str, choice: Side | None
) -> None:
    (clash,) = clashes_between(
        {"f": Change(theirs, mine)}, before=before, chosen={"f": chosen, "other": "mine"}
    )
    assert clash.choice is choice
    assert (clash.theirs, clash.mine) == (theirs, mine)
    assert unsettled([clash]) == ([] if choice else ["f"])
    if before is None:
        assert clash.before is UNKNOWN


def test_times_are_compared_as_the_audit_keeps_them() -> None:
    began, now = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
    (clash,) = clashes_between(
        {"starts_at": Change(now, began)}, before={"starts_at": "2026-01-01T00:00:00Z"}, chosen={}
    )
    assert clash.choice is THEIRS


def test_what_was_before_is_what_the_oldest_change_found() -> None:
    newest, oldest = entry("tags", ["b"], ["c"]), entry("tags", ["a"], ["b"])
    assert before_changes([newest, oldest, entry("group", None, "x")]) == {
        "tags": ["a"],
        "group": None,
    }


def entry(field: str, old: Any, new: Any) -> Entry:
    return Entry(
        id=1,
        at=datetime(2026, 1, 1, tzinfo=UTC),
        actor_kind="user",
        actor="olga",
        action="flag.updated",
        subject="flag",
        name="ui.beta",
        reason="",
        changes=(FieldChange(field, old, new),),
        request_id=None,
        hash="",
    )
