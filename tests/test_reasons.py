"""What the reason of a change has to be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.errors import Invalid
from webapp.reasons import MAX_REASON, MISSING, checked_reason, complaint_about_reason

NO_REASON = ["", "  ", "\n\t "]


@pytest.mark.parametrize(
    ("reason", "complaint"),
    [
        ("Error rate is flat", None),
        ("two\r\nlines\tand a tab", None),
        ("x" * MAX_REASON, None),
        ("  " + "x" * MAX_REASON + "\n", None),
        ("x" * (MAX_REASON + 1), "Use at most 500 characters, not 501."),
        ("a\x00b", "Holds characters that cannot be shown."),
        ("\x1b[31mred", "Holds characters that cannot be shown."),
        ("\ud800", "Holds characters that cannot be shown."),
        *((none, MISSING) for none in NO_REASON),
    ],
)
def test_a_reason_is_there_fits_and_can_be_shown(reason: str, complaint: str | None) -> None:
    assert complaint_about_reason(reason) == complaint


@pytest.mark.parametrize("reason", NO_REASON)
def test_where_it_may_be_left_out_there_may_be_none(reason: str) -> None:
    assert checked_reason(reason, missing=None) == ""


def test_who_demands_it_says_what_for_and_under_which_field() -> None:
    with pytest.raises(Invalid) as refused:
        checked_reason(" ", field="notes", missing="Say why this needs no retry.")
    assert refused.value.errors == {"notes": ["Say why this needs no retry."]}


@given(st.text())
def test_what_is_accepted_is_what_the_audit_holds(reason: str) -> None:
    if complaint_about_reason(reason):
        with pytest.raises(Invalid):
            checked_reason(reason)
        return
    kept = checked_reason(reason)
    assert kept == reason.strip()
    assert 0 < len(kept) <= MAX_REASON
    assert "\0" not in kept
    kept.encode()
