"""The pages of segments, with and without htmx: what each role sees and does, and refusals."""

import re
from datetime import datetime
from typing import TYPE_CHECKING

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from webapp.actors import COMMAND
from webapp.db import db, transaction
from webapp.flags.relations import get_segment
from webapp.flags.service import create_flag
from webapp.flags.shared import Trace, change_segment, create_segment, segment_draft
from webapp.flags.values import Condition, FlagDraft, Operator, Rule, SegmentDraft

if TYPE_CHECKING:
    from tests.conftest import ConsoleClient

URL = "/flags/segments"
GERMAN = Condition(attribute="country", operator=Operator.IN, values=("DE", "AT"))
FORM = {
    "description": "Who reads German",
    "conditions-0-attribute": "country",
    "conditions-0-operator": "in",
    "conditions-0-values": "DE\r\nAT\r\nCH",
    "conditions-1-attribute": "age",
    "conditions-1-operator": "gte",
    "conditions-1-values": "18",
    "conditions-1-negate": "1",
    "reason": "wanted",
    "version": "1",
}


@pytest.fixture(autouse=True)
def segment(app: Flask, now: datetime) -> None:
    """One segment that a flag uses."""
    rule = Rule(name="some", segments=("germans",), percentage=50.0)
    with app.app_context(), transaction() as session:
        draft = SegmentDraft(name="germans", description="<Germans>", conditions=(GERMAN,))
        create_segment(session, draft, Trace(COMMAND, now, "first"))
        flag = FlagDraft(name="ui.beta", rules=(rule,))
        create_flag(session, flag, by=COMMAND, now=now, reason="first")


def stored(app: Flask, name: str = "germans") -> SegmentDraft:
    with app.app_context():
        return segment_draft(get_segment(db.session, name))


def change_meanwhile(app: Flask, now: datetime, draft: SegmentDraft) -> None:
    with app.app_context(), transaction() as session:
        change_segment(session, draft, Trace(COMMAND, now, "meanwhile"))


def send(client: "ConsoleClient", url: str, fields: dict[str, str], *, htmx: bool) -> TestResponse:
    if htmx:
        return client.htmx(url, "segments-form", method="POST", data=fields)
    return client.post(url, data=fields)


def test_a_viewer_sees_segments_but_has_nothing_to_press(viewer: "ConsoleClient") -> None:
    listed, shown = viewer.get(URL).text, viewer.get(f"{URL}/germans").text
    for text in (listed, shown):
        assert "country is in DE, AT" in text
        assert "&lt;Germans&gt;" in text
        assert 'href="/flags/ui.beta"' in text
        assert "/edit" not in text
        assert "/new" not in text
        assert "/remove" not in text
    assert 'aria-current="page">Segments' in listed


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/new"),
        ("POST", ""),
        ("GET", "/germans/edit"),
        ("POST", "/germans"),
        ("POST", "/germans/remove"),
    ],
)
def test_only_an_admin_changes_segments(operator: "ConsoleClient", method: str, path: str) -> None:
    assert operator.open(URL + path, method=method, data={"reason": "r"}).status_code == 403


@pytest.mark.parametrize("path", ["/none", "/none/edit"])
def test_a_segment_that_there_is_not_is_not_found(admin: "ConsoleClient", path: str) -> None:
    assert admin.get(URL + path).status_code == 404
    assert admin.post(f"{URL}/none", data=FORM).status_code == 404


@pytest.mark.parametrize("htmx", [False, True])
def test_an_admin_makes_a_segment(app: Flask, admin: "ConsoleClient", htmx: bool) -> None:
    answer = send(admin, URL, FORM | {"name": "adults"}, htmx=htmx)
    assert answer.headers["HX-Redirect" if htmx else "Location"] == f"{URL}/adults"
    assert stored(app, "adults").conditions == (
        Condition(attribute="country", operator=Operator.IN, values=("DE", "AT", "CH")),
        Condition(attribute="age", operator=Operator.GTE, values=("18",), negate=True),
    )
    assert "age is not &gt;= 18" in admin.get(f"{URL}/adults").text


@pytest.mark.parametrize("htmx", [False, True])
def test_an_admin_changes_a_segment(app: Flask, admin: "ConsoleClient", htmx: bool) -> None:
    answer = send(admin, f"{URL}/germans", FORM, htmx=htmx)
    assert answer.headers["HX-Redirect" if htmx else "Location"] == f"{URL}/germans"
    draft = stored(app)
    assert (draft.description, len(draft.conditions)) == ("Who reads German", 2)
    assert "wanted" in admin.get(f"{URL}/germans").text


@pytest.mark.parametrize("htmx", [False, True])
@pytest.mark.parametrize(
    ("changed", "place", "message"),
    [
        ({"name": "Not A Word"}, "name", "Lower-case words"),
        ({"name": "germans"}, "name", "already"),
        ({"conditions-1-values": "old"}, "conditions", "is no number"),
        ({"conditions-1-operator": "is"}, "conditions-1-operator", "no comparison"),
        ({"reason": ""}, "reason", "Say why"),
    ],
)
def test_a_refused_segment_says_why_and_keeps_what_was_typed(
    admin: "ConsoleClient", htmx: bool, changed: dict[str, str], place: str, message: str
) -> None:
    answer = send(admin, URL, FORM | {"name": "adults"} | changed, htmx=htmx)
    assert answer.status_code in {409, 422}
    assert message in answer.text[answer.text.index(f'id="field-{place}-errors"') :][:600]
    assert "Who reads German" in answer.text


@pytest.mark.parametrize("htmx", [False, True])
@pytest.mark.parametrize("path", ["", "/germans"])
def test_a_condition_more_or_less_saves_nothing(
    app: Flask, admin: "ConsoleClient", htmx: bool, path: str
) -> None:
    before = stored(app)
    more = send(admin, URL + path, FORM | {"add": "conditions"}, htmx=htmx)
    assert re.search(r'id="field-conditions-2-attribute"[^>]*autofocus', more.text)
    less = send(admin, URL + path, FORM | {"remove": "conditions-0"}, htmx=htmx)
    assert 'name="conditions-1-attribute"' not in less.text
    assert (more.status_code, less.status_code) == (200, 200)
    assert stored(app) == before


@pytest.mark.parametrize("htmx", [False, True])
def test_a_form_that_was_overtaken_is_settled_field_by_field(
    app: Flask, admin: "ConsoleClient", now: datetime, htmx: bool
) -> None:
    theirs = SegmentDraft(name="germans", description="Theirs", conditions=(GERMAN,))
    change_meanwhile(app, now, theirs)
    answer = send(admin, f"{URL}/germans", FORM, htmx=htmx)
    assert answer.status_code == (422 if htmx else 409)
    table = answer.text[answer.text.index("When you began") : answer.text.index("</table>")]
    for text in ("&lt;Germans&gt;", "Theirs", "Who reads German", "country is in DE, AT, CH"):
        assert text in table
    over = FORM | {"version": "2", "began": "1", "over": "1"}
    assert "Choose whose" in send(admin, f"{URL}/germans", over, htmx=htmx).text
    send(admin, f"{URL}/germans", over | {"keep-description": "theirs"}, htmx=htmx)
    draft = stored(app)
    assert (draft.description, len(draft.conditions)) == ("Theirs", 2)


def test_a_segment_that_is_used_is_not_removed_and_says_by_whom(
    app: Flask, admin: "ConsoleClient"
) -> None:
    asked = admin.post(f"{URL}/germans/remove")
    assert (asked.status_code, "Remove the segment germans?" in asked.text) == (422, True)
    answer = admin.post(f"{URL}/germans/remove", data={"reason": "tidying up"})
    assert answer.status_code == 409
    assert "germans is used by ui.beta" in answer.text
    assert 'value="tidying up"' in answer.text
    assert stored(app).name == "germans"


def test_a_segment_that_nobody_uses_is_removed_with_its_reason(admin: "ConsoleClient") -> None:
    admin.post(URL, data=FORM | {"name": "adults"})
    answer = admin.post(f"{URL}/adults/remove", data={"reason": "never used"})
    assert (answer.status_code, answer.headers["Location"]) == (303, URL)
    assert admin.get(f"{URL}/adults").status_code == 404
    audit = admin.get("/audit?subject=segment").text
    assert "never used" in audit
    assert f'href="{URL}/germans"' in audit


def test_the_table_alone_comes_with_an_etag(viewer: "ConsoleClient") -> None:
    part = viewer.htmx(URL, "segments-table")
    assert part.text.lstrip().startswith('<section id="segments-table"')
    again = viewer.htmx(URL, "segments-table", headers={"If-None-Match": part.headers["ETag"]})
    assert again.status_code == 304
