"""The pages of groups, with and without htmx: what each role sees and does, and refusals."""

from datetime import datetime
from typing import TYPE_CHECKING

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from webapp.actors import COMMAND
from webapp.db import db, transaction
from webapp.flags.relations import get_group
from webapp.flags.service import create_flag
from webapp.flags.shared import Trace, change_group, create_group
from webapp.flags.values import FlagDraft, GroupDraft

if TYPE_CHECKING:
    from tests.conftest import ConsoleClient

URL = "/flags/groups"
FORM = {"description": "Cart to receipt", "reason": "wanted", "version": "1"}


@pytest.fixture(autouse=True)
def group(app: Flask, now: datetime) -> None:
    """One group with one of two flags in it."""
    with app.app_context(), transaction() as session:
        draft = GroupDraft(name="checkout", description="<Checkout>")
        create_group(session, draft, Trace(COMMAND, now, "first"))
        for flag in (FlagDraft(name="ui.beta", group="checkout"), FlagDraft(name="other")):
            create_flag(session, flag, by=COMMAND, now=now, reason="first")


def description(app: Flask, name: str = "checkout") -> str:
    with app.app_context():
        return get_group(db.session, name).description


def send(client: "ConsoleClient", url: str, fields: dict[str, str], *, htmx: bool) -> TestResponse:
    if htmx:
        return client.htmx(url, "groups-form", method="POST", data=fields)
    return client.post(url, data=fields)


def test_a_viewer_sees_groups_but_has_nothing_to_press(viewer: "ConsoleClient") -> None:
    listed, shown = viewer.get(URL).text, viewer.get(f"{URL}/checkout").text
    for text in (listed, shown):
        assert "&lt;Checkout&gt;" in text
        assert 'href="/flags/ui.beta"' in text
        assert 'href="/flags?group=checkout"' in text
        assert "/edit" not in text
        assert "/new" not in text
        assert "/remove" not in text
    assert 'aria-current="page">Groups' in listed


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/new"),
        ("POST", ""),
        ("GET", "/checkout/edit"),
        ("POST", "/checkout"),
        ("POST", "/checkout/remove"),
    ],
)
def test_only_an_admin_changes_groups(operator: "ConsoleClient", method: str, path: str) -> None:
    assert operator.open(URL + path, method=method, data={"reason": "r"}).status_code == 403


@pytest.mark.parametrize("htmx", [False, True])
def test_an_admin_makes_and_changes_a_group(app: Flask, admin: "ConsoleClient", htmx: bool) -> None:
    header = "HX-Redirect" if htmx else "Location"
    made = send(admin, URL, FORM | {"name": "search"}, htmx=htmx)
    assert made.headers[header] == f"{URL}/search"
    changed = FORM | {"description": "Found"}
    assert send(admin, f"{URL}/search", changed, htmx=htmx).headers[header] == f"{URL}/search"
    assert description(app, "search") == "Found"


@pytest.mark.parametrize("htmx", [False, True])
@pytest.mark.parametrize(
    ("changed", "place", "message"),
    [
        ({"name": "Not A Word"}, "name", "Lower-case words"),
        ({"name": "checkout"}, "name", "already"),
        ({"description": "x" * 2001}, "description", "At most 2,000"),
        ({"reason": ""}, "reason", "Say why"),
    ],
)
def test_a_refused_group_says_why_at_the_field(
    admin: "ConsoleClient", htmx: bool, changed: dict[str, str], place: str, message: str
) -> None:
    answer = send(admin, URL, FORM | {"name": "search"} | changed, htmx=htmx)
    assert answer.status_code in {409, 422}
    assert message in answer.text[answer.text.index(f'id="field-{place}-errors"') :][:600]


@pytest.mark.parametrize("htmx", [False, True])
@pytest.mark.parametrize(("side", "stands"), [("mine", "Cart to receipt"), ("theirs", "Theirs")])
def test_a_form_that_was_overtaken_is_settled(
    app: Flask, admin: "ConsoleClient", now: datetime, htmx: bool, side: str, stands: str
) -> None:
    with app.app_context(), transaction() as session:
        draft = GroupDraft(name="checkout", description="Theirs")
        change_group(session, draft, Trace(COMMAND, now, "meanwhile"))
    answer = send(admin, f"{URL}/checkout", FORM, htmx=htmx)
    assert answer.status_code == (422 if htmx else 409)
    table = answer.text[answer.text.index("When you began") : answer.text.index("</table>")]
    for text in ("&lt;Checkout&gt;", "Theirs", "Cart to receipt"):
        assert text in table
    over = FORM | {"version": "2", "began": "1", "over": "1", "keep-description": side}
    send(admin, f"{URL}/checkout", over, htmx=htmx)
    assert description(app) == stands


def test_a_group_with_flags_in_it_is_not_removed_and_says_which(
    app: Flask, admin: "ConsoleClient"
) -> None:
    answer = admin.post(f"{URL}/checkout/remove", data={"reason": "tidying up"})
    assert answer.status_code == 409
    assert "checkout is used by ui.beta" in answer.text
    assert 'value="tidying up"' in answer.text
    assert description(app) == "<Checkout>"


def test_an_empty_group_is_removed_with_its_reason(admin: "ConsoleClient") -> None:
    admin.post(URL, data=FORM | {"name": "search"})
    answer = admin.post(f"{URL}/search/remove", data={"reason": "never used"})
    assert (answer.status_code, answer.headers["Location"]) == (303, URL)
    audit = admin.get("/audit?subject=group").text
    assert "never used" in audit
    assert f'href="{URL}/checkout"' in audit


def test_the_list_of_flags_is_narrowed_to_a_group(viewer: "ConsoleClient") -> None:
    narrowed = viewer.htmx("/flags?group=checkout", "flags-table").text
    assert "ui.beta" in narrowed
    assert ">other<" not in narrowed
    assert '<option value="checkout" selected>' in viewer.get("/flags?group=checkout").text
