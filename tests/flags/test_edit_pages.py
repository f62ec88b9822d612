"""The form of a flag: its rows, the review before it is saved, and what two people did to it."""

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.architecture.markup import elements_of
from webapp.actors import COMMAND
from webapp.db import db, transaction
from webapp.flags.queries import get_flag
from webapp.flags.service import change_flag, create_flag, draft_of
from webapp.flags.shared import Trace, create_group, create_segment
from webapp.flags.values import (
    Condition,
    FlagChanges,
    FlagDraft,
    GroupDraft,
    Operator,
    Prerequisite,
    Rule,
    SegmentDraft,
    Variant,
)

if TYPE_CHECKING:
    from tests.conftest import ConsoleClient

URL = "/flags/ui.beta"
PLAN = Condition(attribute="plan", operator=Operator.IN, values=("pro", "team"))
ROWS = {
    "rules-0-name": "paying",
    "rules-0-percentage": "50",
    "rules-0-segments": "germans",
    "rules-0-conditions-0-attribute": "plan",
    "rules-0-conditions-0-operator": "in",
    "rules-0-conditions-0-values": "pro\r\nteam",
    "variants-0-name": "blue",
    "variants-0-weight": "1",
    "variants-0-value": '"#00f"',
    "variants-1-name": "red",
    "variants-1-weight": "3",
    "prerequisites-0-flag": "payments",
    "prerequisites-0-enabled": "on",
    "group": "checkout",
}
FORM = ROWS | {"description": "The new layout", "tags": "ui", "reason": "wanted", "version": "1"}


@pytest.fixture(autouse=True)
def flags(app: Flask, now: datetime) -> None:
    """A flag, one that it may build on, a segment and a group."""
    trace = Trace(COMMAND, now, "first")
    german = Condition(attribute="country", operator=Operator.IN, values=("DE", "AT"))
    with app.app_context(), transaction() as session:
        create_segment(session, SegmentDraft(name="germans", conditions=(german,)), trace)
        create_group(session, GroupDraft(name="checkout"), trace)
        for name in ("ui.beta", "payments"):
            draft = FlagDraft(name=name, description="The new layout", enabled=True, tags=("ui",))
            create_flag(session, draft, by=COMMAND, now=now, reason="first")


def stored(app: Flask) -> FlagDraft:
    with app.app_context():
        return draft_of(get_flag(db.session, "ui.beta"))


def version(app: Flask) -> int:
    with app.app_context():
        return get_flag(db.session, "ui.beta").version


def change_meanwhile(app: Flask, now: datetime, **changes: Any) -> None:
    with app.app_context(), transaction() as session:
        change_flag(
            session, "ui.beta", FlagChanges(**changes), by=COMMAND, now=now, reason="meanwhile"
        )


def send(
    client: "ConsoleClient", fields: dict[str, Any], *, htmx: bool, url: str = URL
) -> TestResponse:
    if htmx:
        return client.htmx(url, "flags-form", method="POST", data=fields)
    return client.post(url, data=fields)


def mark_in(answer: TestResponse) -> str:
    """Return what the button Save of a review would send."""
    found = re.search(r'name="reviewed" value="([0-9a-f]+)"', answer.text)
    assert found, answer.text
    return found[1]


def chosen_in(answer: TestResponse, field: str) -> str | None:
    """Return the side that is chosen for a field."""
    found = re.search(rf'name="keep-{field}" type="radio" value="(\w+)" checked', answer.text)
    return found[1] if found else None


@pytest.mark.parametrize("htmx", [False, True])
def test_what_would_change_is_shown_and_nothing_is_saved(
    app: Flask, admin: "ConsoleClient", htmx: bool
) -> None:
    answer = send(admin, FORM | {"review": "1"}, htmx=htmx)
    assert answer.status_code == 200
    assert ("<html" in answer.text) is not htmx
    review = answer.text[answer.text.index("What would change") :]
    assert "50 % where plan is in pro, team; segment germans" in review
    assert "weight 3" in review
    assert "rule paying" in review
    assert "must be on" in review
    assert "description" not in review
    assert version(app) == 1


@pytest.mark.parametrize("htmx", [False, True])
def test_what_was_looked_at_is_saved(app: Flask, admin: "ConsoleClient", htmx: bool) -> None:
    mark = mark_in(send(admin, FORM | {"review": "1"}, htmx=htmx))
    answer = send(admin, FORM | {"reviewed": mark}, htmx=htmx)
    assert answer.headers["HX-Redirect" if htmx else "Location"] == URL
    draft = stored(app)
    assert draft.rules == (
        Rule(name="paying", conditions=(PLAN,), segments=("germans",), percentage=50.0),
    )
    assert draft.variants == (
        Variant(name="blue", weight=1, value="#00f"),
        Variant(name="red", weight=3),
    )
    assert draft.prerequisites == (Prerequisite(flag="payments"),)
    assert draft.group == "checkout"


def test_what_was_changed_after_the_review_is_reviewed_again(
    app: Flask, admin: "ConsoleClient"
) -> None:
    mark = mark_in(admin.post(URL, data=FORM | {"review": "1"}))
    answer = admin.post(URL, data=FORM | {"reviewed": mark, "description": "Another"})
    assert answer.status_code == 200
    assert "Another" in answer.text[answer.text.index("What would change") :]
    assert version(app) == 1


def test_a_form_that_changes_nothing_says_so(admin: "ConsoleClient") -> None:
    answer = admin.post(URL, data={"description": "The new layout", "tags": "ui", "reason": "r"})
    assert "Nothing differs from what is saved." in answer.text
    assert 'name="reviewed"' not in answer.text


@pytest.mark.parametrize("htmx", [False, True])
@pytest.mark.parametrize(
    ("changed", "place", "message"),
    [
        ({"rules-0-percentage": "many"}, "rules-0-percentage", "Must be a number"),
        ({"rules-0-percentage": "101"}, "rules-0", "Must be from 0 to 100."),
        ({"rules-0-name": ""}, "rules-0", "It has a name of 1 to 64 characters"),
        ({"rules-0-segments": "romans"}, "rules", "There is no segment romans."),
        (
            {"rules-0-conditions-0-operator": "gt", "rules-0-conditions-0-values": "x"},
            "rules-0",
            "plan: &#39;x&#39; is no number.",
        ),
        ({"variants-1-value": "blue"}, "variants-1-value", "Is not JSON"),
        ({"variants-1-weight": "some"}, "variants-1-weight", "Must be a whole number."),
        ({"variants-1-name": "blue"}, "variants", "Given twice: blue."),
        ({"prerequisites-0-flag": "ui.beta"}, "prerequisites", "Leads in a circle"),
        ({"group": "gone"}, "group", "There is no group gone."),
        ({"reason": " "}, "reason", "Say why"),
    ],
)
def test_a_refused_row_says_why_at_its_place_and_keeps_what_was_typed(
    app: Flask,
    admin: "ConsoleClient",
    htmx: bool,
    changed: dict[str, str],
    place: str,
    message: str,
) -> None:
    answer = send(admin, FORM | changed | {"review": "1"}, htmx=htmx)
    assert answer.status_code == 422
    assert message in answer.text[answer.text.index(f'id="field-{place}-errors"') :][:700]
    for value in changed.values():
        assert value in answer.text
    assert "#00f" in answer.text
    assert version(app) == 1


@pytest.mark.parametrize("htmx", [False, True])
@pytest.mark.parametrize(
    ("button", "there", "gone", "focus"),
    [
        ({"add": "rules"}, "rules-1-name", None, "field-rules-1-name"),
        (
            {"add": "rules-0-conditions"},
            "rules-0-conditions-1-values",
            None,
            "field-rules-0-conditions-1-attribute",
        ),
        ({"add": "variants"}, "variants-2-weight", None, "field-variants-2-name"),
        ({"add": "prerequisites"}, "prerequisites-1-flag", None, "field-prerequisites-1-flag"),
        ({"remove": "rules-0"}, None, "rules-0-name", "rules"),
        ({"remove": "variants-0"}, "variants-0-name", "variants-1-name", "variants"),
        ({"remove": "prerequisites-0"}, None, "prerequisites-0-flag", "prerequisites"),
    ],
)
def test_a_row_more_or_less_saves_nothing_and_keeps_the_rest(  # noqa: PLR0917
    app: Flask,
    admin: "ConsoleClient",
    htmx: bool,
    button: dict[str, str],
    there: str | None,
    gone: str | None,
    focus: str,
) -> None:
    answer = send(admin, FORM | {"reason": "", "tags": "typed"} | button, htmx=htmx)
    assert answer.status_code == 200
    assert ("<html" in answer.text) is not htmx
    assert there is None or f'name="{there}"' in answer.text
    assert gone is None or f'name="{gone}"' not in answer.text
    (first,) = (item for item in elements_of(answer.text) if "autofocus" in item.attributes)
    assert focus in {first.get("id"), first.get("value")}
    assert 'value="typed"' in answer.text
    assert version(app) == 1


def test_a_row_can_be_added_to_a_flag_that_is_still_to_be_made(admin: "ConsoleClient") -> None:
    answer = admin.post("/flags", data={"name": "half.typed", "add": "rules"})
    assert answer.status_code == 200
    assert 'value="half.typed"' in answer.text
    assert 'name="rules-0-conditions-0-attribute"' in answer.text
    assert admin.get("/flags/half.typed").status_code == 404


def test_a_flag_is_made_with_all_its_rows(app: Flask, admin: "ConsoleClient") -> None:
    answer = admin.post("/flags", data=FORM | {"name": "all.rows", "percentage": "5"})
    assert answer.status_code == 303
    with app.app_context():
        draft = draft_of(get_flag(db.session, "all.rows"))
    assert (len(draft.rules), len(draft.variants), draft.group) == (1, 2, "checkout")


def test_the_share_of_each_variant_is_told(admin: "ConsoleClient") -> None:
    text = admin.post(URL, data=FORM | {"add": "rules"}).text
    assert re.search(r'id="variants-0-share"[^>]*>25 %<', text)
    assert re.search(r'id="variants-1-share"[^>]*>75 %<', text)


def test_enter_never_removes_a_row(admin: "ConsoleClient") -> None:
    """The first button of a form is the one that Enter presses."""
    text = admin.get(f"{URL}/edit").text
    form = text[text.index('<form class="form stack"') :]
    assert re.search(r"<button[^>]*>", form)[0].count('name="review"') == 1  # type: ignore[index]


def test_where_flags_are_many_a_prerequisite_is_typed(
    app: Flask, admin: "ConsoleClient", now: datetime
) -> None:
    with app.app_context(), transaction() as session:
        for number in range(61):
            draft = FlagDraft(name=f"many.n{number}")
            create_flag(session, draft, by=COMMAND, now=now, reason="r")
    text = admin.post(URL, data=FORM | {"add": "prerequisites"}).text
    assert 'list="other-flags"' in text
    assert '<option value="many.n60"></option>' in text


def test_several_segments_are_ticked(app: Flask, admin: "ConsoleClient", now: datetime) -> None:
    young = Condition(attribute="age", operator=Operator.LT, values=("30",))
    with app.app_context(), transaction() as session:
        draft = SegmentDraft(name="young", conditions=(young,))
        create_segment(session, draft, Trace(COMMAND, now, "r"))
    both = FORM | {"rules-0-segments": ["germans", "young"]}
    answer = admin.post(URL, data=both | {"review": "1"})
    admin.post(URL, data=both | {"reviewed": mark_in(answer)})
    assert stored(app).rules[0].segments == ("germans", "young")


@pytest.mark.parametrize("htmx", [False, True])
def test_a_form_that_was_overtaken_shows_each_field_with_all_its_values(
    app: Flask, admin: "ConsoleClient", now: datetime, htmx: bool
) -> None:
    change_meanwhile(app, now, description="Theirs", whitelist=("vera",), percentage=75.0)
    answer = send(admin, FORM | {"description": "Mine"}, htmx=htmx)
    assert answer.status_code == (422 if htmx else 409)
    table = answer.text[answer.text.index("When you began") : answer.text.index("</table>")]
    for text in ("The new layout", "Theirs", "Mine", "vera", "paying: 50 %"):
        assert text in table
    # Only they changed the one, only I the other, both the third.
    assert chosen_in(answer, "whitelist") == "theirs"
    assert chosen_in(answer, "rules") == "mine"
    assert chosen_in(answer, "description") is None
    assert "meanwhile" in answer.text
    assert 'name="version" value="2"' in answer.text
    assert 'name="began" value="1"' in answer.text
    assert version(app) == 2


@pytest.mark.parametrize(("side", "stands"), [("mine", "Mine"), ("theirs", "Theirs")])
def test_it_is_saved_with_what_was_chosen(
    app: Flask, admin: "ConsoleClient", now: datetime, side: str, stands: str
) -> None:
    change_meanwhile(app, now, description="Theirs", whitelist=("vera",), percentage=75.0)
    over = {"version": "2", "began": "1", "over": "1", "keep-description": side}
    answer = admin.post(URL, data=FORM | over | {"description": "Mine"})
    assert answer.status_code == 303
    draft = stored(app)
    assert (draft.description, draft.whitelist, draft.percentage) == (stands, ("vera",), 75.0)
    assert draft.rules[0].name == "paying"


@pytest.mark.parametrize("htmx", [False, True])
def test_a_field_that_both_changed_must_be_chosen(
    app: Flask, admin: "ConsoleClient", now: datetime, htmx: bool
) -> None:
    change_meanwhile(app, now, description="Theirs", tags=("theirs",))
    over = {"version": "2", "began": "1", "over": "1", "keep-tags": "theirs", "tags": "mine"}
    answer = send(admin, FORM | over | {"description": "Mine"}, htmx=htmx)
    assert answer.status_code == 422
    assert "Choose whose is to stand: description." in answer.text
    assert chosen_in(answer, "tags") == "theirs"
    assert version(app) == 2


def test_whoever_is_overtaken_twice_still_sees_what_they_began_with(
    app: Flask, admin: "ConsoleClient", now: datetime
) -> None:
    change_meanwhile(app, now, description="Theirs")
    change_meanwhile(app, now, description="Theirs again")
    over = {"version": "2", "began": "1", "over": "1", "keep-description": "mine"}
    answer = admin.post(URL, data=FORM | over | {"description": "Mine"})
    assert answer.status_code == 409
    table = answer.text[answer.text.index("When you began") : answer.text.index("</table>")]
    for text in ("The new layout", "Theirs again", "Mine"):
        assert text in table
    assert 'name="version" value="3"' in answer.text
    assert version(app) == 3


def test_after_more_changes_than_are_told_every_field_must_be_chosen(
    app: Flask, admin: "ConsoleClient", now: datetime
) -> None:
    for number in range(21):
        change_meanwhile(app, now, percentage=float(number + 1))
    answer = admin.post(URL, data=FORM | {"review": "1"})
    assert answer.status_code == 409
    assert "not known" in answer.text
    assert chosen_in(answer, "rules") is None


def test_a_row_more_leaves_what_is_to_be_settled(
    app: Flask, admin: "ConsoleClient", now: datetime
) -> None:
    change_meanwhile(app, now, description="Theirs")
    chosen = {"version": "2", "began": "1", "keep-description": "theirs", "add": "variants"}
    answer = admin.post(URL, data=FORM | chosen | {"description": "Mine"})
    assert chosen_in(answer, "description") == "theirs"
    assert "Save over it" in answer.text


def test_a_reason_that_is_missing_leaves_what_is_to_be_settled(
    app: Flask, admin: "ConsoleClient", now: datetime
) -> None:
    change_meanwhile(app, now, description="Theirs")
    over = {"version": "2", "began": "1", "over": "1", "keep-description": "mine", "reason": ""}
    answer = admin.post(URL, data=FORM | over | {"description": "Mine"})
    assert answer.status_code == 422
    assert "Say why" in answer.text
    assert chosen_in(answer, "description") == "mine"
    assert "Save over it" in answer.text


def test_an_archived_flag_is_not_saved_and_says_why(app: Flask, admin: "ConsoleClient") -> None:
    mark = mark_in(admin.post(URL, data=FORM | {"review": "1"}))
    admin.post(f"{URL}/archive", data={"reason": "over"})
    answer = admin.post(URL, data=FORM | {"reviewed": mark})
    assert answer.status_code == 409
    assert "restore it first" in answer.text
    assert "paying" in answer.text


def test_an_action_that_others_stand_in_the_way_of_is_told_in_words(
    admin: "ConsoleClient",
) -> None:
    mark = mark_in(admin.post(URL, data=FORM | {"review": "1"}))
    admin.post(URL, data=FORM | {"reviewed": mark})
    answer = admin.post("/flags/payments/archive", data={"reason": "tidying up"})
    assert answer.status_code == 409
    assert "payments is a prerequisite of ui.beta" in answer.text
    assert 'value="tidying up"' in answer.text


def test_a_new_flag_can_begin_in_a_group(admin: "ConsoleClient") -> None:
    assert '<option value="checkout" selected>' in admin.get("/flags/new?group=checkout").text
