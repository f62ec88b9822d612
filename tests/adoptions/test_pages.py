"""The page that imports flags: nothing is lost, nothing is saved unseen, all or nothing."""

import io
import json
import random
import re
from datetime import datetime
from html import unescape
from typing import Any, Final

import pytest
from flask import Flask
from sqlalchemy import func, select
from werkzeug.datastructures import FileStorage
from werkzeug.test import TestResponse, encode_multipart

from tests.adoptions.test_api import FILE
from tests.adoptions.test_from_unleash import EXPORT
from tests.conftest import ConsoleClient
from webapp.actors import COMMAND
from webapp.audit.models import AuditEntry
from webapp.db import db, reading, transaction
from webapp.flags.importing import MOST_BYTES
from webapp.flags.queries import all_flags, get_flag
from webapp.flags.service import change_flag, create_flag
from webapp.flags.values import FlagChanges, FlagDraft
from webapp.roles import Role

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True, scope="session")

URL: Final = "/flags/import"
FORMAT: Final = "switchyard.feature-flags/1"
OWN: Final[dict[str, Any]] = {
    "format": FORMAT,
    "groups": [{"name": "shop"}],
    "flags": [
        {"name": "cart", "percentage": 50.0, "group": "shop"},
        {"name": "search", "enabled": True},
        {"name": "settled"},
    ],
}


@pytest.fixture(autouse=True)
def flags(app: Flask, now: datetime) -> None:
    """One that a document changes, and one that it leaves as it is."""
    with app.app_context(), transaction() as session:
        for draft in (FlagDraft(name="cart", percentage=25.0), FlagDraft(name="settled")):
            create_flag(session, draft, by=COMMAND, now=now, reason="first")


def send(client: ConsoleClient, document: Any = None, **fields: Any) -> TestResponse:
    """Send the form with a file, whose content is JSON where it is not bytes."""
    data = {"system": "switchyard", "reason": "From staging"} | fields
    if document is not None:
        content = document if isinstance(document, bytes) else json.dumps(document).encode()
        data["file"] = FileStorage(io.BytesIO(content), "file", "flags.json")
    boundary, body = encode_multipart(data)
    kind = f"multipart/form-data; boundary={boundary}"
    return client.post(URL, data=body, content_type=kind)


def hidden(answer: TestResponse) -> dict[str, str]:
    """What the page would send again besides what is typed."""
    found = re.findall(r'<input type="hidden" name="(kept|title)" value="([^"]*)"', answer.text)
    return {name: unescape(value) for name, value in found}


def mark(answer: TestResponse) -> str:
    found = re.search(r'name="reviewed" value="(\w+)"', answer.text)
    assert found, "the page offers to import"
    return found[1]


def counts(answer: TestResponse) -> list[str]:
    return re.findall(r'name="show" value="[a-z_]*" aria-pressed="\w+">([^<]+)<', answer.text)


def names(app: Flask) -> list[str]:
    with app.app_context(), reading() as session:
        return [flag.name for flag in all_flags(session)]


def changed(app: Flask) -> int:
    with app.app_context(), reading() as session:
        return session.scalar(select(func.count()).select_from(AuditEntry)) or 0


def test_what_would_happen_is_shown_and_then_done(app: Flask, admin: ConsoleClient) -> None:
    before = changed(app)
    looked = send(admin, OWN)
    assert looked.status_code == 200
    assert counts(looked) == ["All 4", "1 changed", "2 created", "1 unchanged"]
    # The worst first, and a name that leads to the flag where there is one.
    places = [looked.text.index(f">{name}</") for name in ("cart", "search", "settled")]
    assert places == sorted(places)
    assert 'href="/flags/cart"' in looked.text
    assert 'href="/flags/search"' not in looked.text
    assert (names(app), changed(app)) == (["cart", "settled"], before)
    done = send(admin, **hidden(looked), reviewed=mark(looked))
    assert done.status_code == 200
    assert "1 changed, 2 created, 1 unchanged." in done.text
    assert 'href="/flags/search"' in done.text
    assert 'href="/flags/groups/shop"' in done.text
    with app.app_context(), reading() as session:
        flag = get_flag(session, "cart")
        assert (flag.percentage, flag.group, flag.updated_by) == (50.0, "shop", "admin")
        told = session.scalars(select(AuditEntry).order_by(AuditEntry.id.desc()).limit(3))
        assert {(entry.name, entry.actor, entry.reason) for entry in told} == {
            (name, "admin", "From staging") for name in ("cart", "search", "shop")
        }
    # A page that is loaded again sends the form again.
    again = send(admin, **hidden(looked), reviewed=mark(looked))
    assert again.status_code == 409
    assert "Nothing would be made or changed." in again.text


@on_sqlite
@pytest.mark.parametrize(
    ("system", "document", "environment", "told"),
    [
        ("unleash", EXPORT, "development", ["All 6", "4 left out", "2 created"]),
        ("flagd", FILE, "", ["All 3", "1 left out", "2 created"]),
    ],
)
def test_documents_of_other_systems_are_taken_over(
    app: Flask,
    admin: ConsoleClient,
    system: str,
    document: Any,
    environment: str,
    told: list[str],
) -> None:
    asked = {"system": system, "environment": environment}
    looked = send(admin, document, **asked)
    assert counts(looked) == told
    with app.app_context(), transaction() as session:
        before = len(all_flags(session))
    done = send(admin, **asked, **hidden(looked), reviewed=mark(looked))
    assert done.status_code == 200
    assert len(names(app)) == before + 2


@on_sqlite
def test_what_does_not_come_along_is_told(admin: ConsoleClient) -> None:
    looked = unescape(send(admin, EXPORT, system="unleash", environment="development").text)
    assert "It is archived." in looked
    assert "It builds on CamelCase, which is left out." in looked
    assert "Overrides of its variants are left out." in looked


@on_sqlite
def test_where_one_is_refused_nothing_can_be_imported(app: Flask, admin: ConsoleClient) -> None:
    odd = {**OWN, "flags": [*OWN["flags"], {"name": "odd", "percentage": 400}, {"name": "A b"}]}
    looked = send(admin, odd)
    assert counts(looked)[1] == "2 refused"
    assert "percentage: Must be from 0 to 100." in looked.text
    assert 'name="reviewed"' not in looked.text
    # Whoever sends it all the same has nothing saved.
    forced = send(admin, **hidden(looked), reviewed="x" * 20)
    assert forced.status_code == 409
    assert names(app) == ["cart", "settled"]


@on_sqlite
def test_where_flags_changed_since_the_look_nothing_is_saved_and_it_is_shown_anew(
    app: Flask, admin: ConsoleClient, now: datetime
) -> None:
    looked = send(admin, OWN)
    with app.app_context(), transaction() as session:
        change_flag(
            session,
            "cart",
            FlagChanges(percentage=30.0),
            by=COMMAND,
            now=now,
            reason="meanwhile",
        )
    answer = send(admin, **hidden(looked), reviewed=mark(looked))
    assert answer.status_code == 409
    assert "What would happen is not what you looked at" in answer.text
    assert names(app) == ["cart", "settled"]
    assert mark(answer) != mark(looked)
    assert send(admin, **hidden(answer), reviewed=mark(answer)).status_code == 200
    assert names(app) == ["cart", "search", "settled"]


@on_sqlite
def test_short_text_stays_where_it_was_pasted_and_long_text_is_kept(
    app: Flask, admin: ConsoleClient
) -> None:
    short = send(admin, pasted=json.dumps(OWN))
    assert hidden(short) == {"kept": "", "title": ""}
    assert json.dumps(OWN) in unescape(short.text)
    long = send(admin, pasted=json.dumps(OWN, indent=2) + " " * 100_000)
    assert hidden(long)["title"] == "Pasted text"
    assert len(long.text) < 60_000
    assert mark(long) == mark(short)
    assert send(admin, **hidden(long), reviewed=mark(long)).status_code == 200
    assert names(app) == ["cart", "search", "settled"]


@on_sqlite
def test_a_file_takes_the_place_of_the_one_before(admin: ConsoleClient) -> None:
    looked = send(admin, OWN)
    other = send(admin, {"format": FORMAT, "flags": []}, **hidden(looked))
    assert counts(other) == ["All 0"]
    assert "The document holds no flag" in other.text


SEVERAL: Final = EXPORT | {
    "featureEnvironments": [
        {"featureName": "checkout", "environment": name} for name in ("development", "production")
    ]
}
DEEP: Final = b'{"format":"%s","flags":[' % FORMAT.encode() + b"[" * 100_000
ODD: Final[dict[str, tuple[dict[str, Any], Any, str]]] = {
    "nothing": ({}, None, "Choose a file, or paste what is in it."),
    "an empty file": ({}, b"", "The file is empty."),
    "a file of spaces": ({}, b" \n", "The file is empty."),
    "both": ({"pasted": "{}"}, {}, "Choose a file or paste text, not both."),
    "no JSON": ({}, b"flags: 3", "This is not JSON"),
    "no text": ({}, random.Random(1).randbytes(5_000), "This is not JSON"),
    "text in UTF-16": ({}, json.dumps(OWN).encode("utf-16"), "This is not JSON"),
    "half characters": ({"pasted": '{"a": "\\ud800"}'}, None, "This is not JSON"),
    "a list": ({}, [], "This must be a JSON object."),
    "too deep": ({}, DEEP, "This is not JSON"),
    "a NUL": ({}, {"format": FORMAT, "flags": [], "groups": "\0"}, "groups: "),
    "another system's": ({}, EXPORT, "It looks like a document of Unleash"),
    "a console's": ({"system": "flagd"}, OWN, "It looks like a document of a console"),
    "a file of flagd": ({"system": "unleash"}, FILE, "It looks like a document of flagd"),
    "another format": ({}, {"format": "other", "flags": []}, "format: "),
    "too many flags": (
        {},
        {"format": FORMAT, "flags": [{"name": f"a{number}"} for number in range(5_001)]},
        "flags: ",
    ),
    "too many faults": ({"system": "unleash"}, {"features": [{}] * 50}, "And 45 more like these."),
    "no reason": ({"reason": " "}, OWN, "Say why"),
    "a system that nobody knows": ({"system": "x"}, OWN, "Choose one of these."),
    "an environment of its own": ({"environment": "demo"}, OWN, "names its environments"),
    "several environments": ({"system": "unleash"}, SEVERAL, "Name one of those exported"),
    "kept, and not whole": ({"kept": "AAAA"}, None, "did not come back whole"),
    "kept, and no text": ({"kept": "ä"}, None, "did not come back whole"),
}


@on_sqlite
@pytest.mark.parametrize("case", ODD.values(), ids=ODD)
def test_what_cannot_be_read_is_told_at_its_field_and_nothing_is_lost(
    app: Flask, admin: ConsoleClient, case: tuple[dict[str, Any], Any, str]
) -> None:
    fields, document, message = case
    answer = send(admin, document, **fields)
    assert answer.status_code == 422
    assert message in unescape(answer.text)
    assert 'aria-invalid="true"' in answer.text
    assert unescape(str(fields.get("pasted", ""))) in unescape(answer.text)
    assert f'value="{fields.get("environment", "")}"' in answer.text
    # A document that can be read is not asked for again.
    readable = isinstance(document, dict) and "pasted" not in fields
    assert bool(hidden(answer)["kept"]) is (readable or "kept" in fields)
    assert names(app) == ["cart", "settled"]


@on_sqlite
def test_a_document_may_be_as_long_as_over_json(admin: ConsoleClient) -> None:
    text = json.dumps(OWN).encode()
    longest = send(admin, text.ljust(MOST_BYTES))
    assert longest.status_code == 200
    assert counts(longest)[0] == "All 4"
    over = send(admin, text.ljust(MOST_BYTES + 1))
    assert over.status_code == 422
    assert "Use at most 32 MiB." in over.text
    assert send(admin, text.ljust(MOST_BYTES + 2**20)).status_code == 422
    assert send(admin, text.ljust(46 * 2**20)).status_code == 413


@on_sqlite
@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
def test_only_admins_import_and_of_others_no_long_form_is_read(
    client: ConsoleClient, role: Role
) -> None:
    client.sign_in(role)
    assert client.get(URL).status_code == 403
    assert send(client, OWN).status_code == 403
    assert send(client, b" " * 2 * 2**20).status_code == 413
    assert URL not in client.get("/flags").text


@on_sqlite
def test_whoever_is_not_signed_in_has_no_long_form_read(client: ConsoleClient) -> None:
    assert send(client, b" " * 2 * 2**20).status_code == 413


@on_sqlite
def test_a_long_form_is_as_little_forged_as_a_short_one(admin: ConsoleClient) -> None:
    admin.csrf = False
    assert send(admin, OWN).status_code == 400
    assert send(admin, b" " * 2 * 2**20).status_code == 400
    assert send(admin, OWN, csrf_token=admin.csrf_token()).status_code == 200


@on_sqlite
def test_a_nul_in_a_field_is_refused(admin: ConsoleClient) -> None:
    assert send(admin, OWN, reason="a\0b").status_code == 400


@on_sqlite
def test_a_long_report_is_shown_by_the_page_and_by_outcome(
    app: Flask, admin: ConsoleClient
) -> None:
    many = [{"name": f"flag.{number:03}"} for number in range(250)]
    looked = send(admin, {"format": FORMAT, "flags": [*OWN["flags"][1:], *many]})
    assert counts(looked) == ["All 252", "251 created", "1 unchanged"]
    assert looked.text.count("facts__item") == 100
    assert "Page 1 of 3, 252 in all" in looked.text
    last = send(admin, **hidden(looked), show=":3")
    assert last.text.count("facts__item") == 52
    assert mark(last) == mark(looked)
    some = send(admin, **hidden(looked), show="unchanged")
    assert some.text.count("facts__item") == 1
    for odd in (":99", ":-1", ":x", "x:2", "created:" + "9" * 5_000):
        assert send(admin, **hidden(looked), show=odd).status_code == 200
    done = send(admin, **hidden(last), reviewed=mark(last))
    assert done.text.count("facts__item") == 252
    assert len(names(app)) == 253


@on_sqlite
def test_the_list_leads_there(admin: ConsoleClient) -> None:
    page = admin.get("/flags").text
    assert f'href="{URL}"' in page
    assert 'href="/api/v1/feature-flags/export"' in page


def test_what_was_exported_can_be_pasted_back(app: Flask, admin: ConsoleClient) -> None:
    exported = admin.get("/api/v1/feature-flags/export").text
    with app.app_context():
        db.session.rollback()
    # A browser sends line ends of its own, and an editor a mark before the text.
    looked = send(admin, pasted="\N{BYTE ORDER MARK}" + exported.replace("\n", "\r\n"))
    assert counts(looked) == ["All 2", "2 unchanged"]
