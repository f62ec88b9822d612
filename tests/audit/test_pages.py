"""The page Audit, whole and in part."""

import html
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from tests.statements import statements
from webapp.actors import SYSTEM, Actor
from webapp.audit.models import AuditEntry
from webapp.audit.service import record
from webapp.audit.values import Change
from webapp.db import reading, transaction


@pytest.fixture
def entries(app: Flask) -> None:
    with app.app_context(), transaction() as session:
        for number in range(60):
            record(
                session,
                by=Actor("user", "anna", "request-0123456789"),
                at=datetime(2026, 3, 1 + number // 30, tzinfo=UTC),
                action="flag.updated",
                subject="flag",
                name=f"flag-{number}",
                reason=f"reason {number}",
                changes={"percentage": Change(number, number + 0.5)},
            )
        record(
            session,
            by=SYSTEM,
            at=datetime(2026, 3, 3, tzinfo=UTC),
            action="dead_letter.resolved",
            subject="dead_letter",
            name="7",
            reason="<b>bold</b>",
        )


def test_the_page_shows_who_changed_what_and_why(viewer: Any, entries: None) -> None:
    page = viewer.get("/audit?q=reason+59")
    assert page.status_code == 200
    assert "<!DOCTYPE html>" in page.text
    for text in ("anna", "Flag updated", 'href="/flags/flag-59"', "reason 59", "59.5"):
        assert text in page.text
    assert "flag-58" not in page.text


def test_an_entry_shows_its_hash_at_its_time_and_its_request(
    viewer: Any, entries: None, app: Flask
) -> None:
    with app.app_context(), reading() as session:
        entry = session.scalars(select(AuditEntry).where(AuditEntry.name == "flag-59")).one()
    page = viewer.get("/audit?q=reason+59")
    assert f'title="Entry {entry.id}, hash {entry.hash[:12]}…"' in page.text
    assert f'title="Request request-0123456789, hash {entry.hash[:12]}…"' in page.text
    assert "flask audit verify" in page.text


def test_what_people_wrote_is_shown_as_text(viewer: Any, entries: None) -> None:
    page = viewer.get("/audit?subject=dead_letter")
    assert "&lt;b&gt;bold&lt;/b&gt;" in page.text
    assert 'href="/dead-letters/7"' in page.text


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("", "50 of 62"),  # 61, and the viewer's own account
        ("?subject=flag", "50 of 60"),
        ("?actor=switchyard", "1 of 1"),
        ("?action=dead_letter.resolved", "1 of 1"),
        ("?subject=flag&name=flag-3", "1 of 1"),
        ("?from=2026-03-02&to=2026-03-02", "30 of 30"),
        ("?from=2026-03-03&to=2026-03-03", "1 of 1"),
        ("?to=2026-03-01", "30 of 30"),
        ("?from=tomorrow&to=9999", "50 of 62"),
        ("?to=9999-12-31", "50 of 62"),
        ("?before=nonsense", "50 of 62"),
    ],
)
def test_the_address_narrows_the_page(viewer: Any, entries: None, query: str, shown: str) -> None:
    assert f"{shown} changes" in viewer.get(f"/audit{query}").text


def test_the_filters_offer_what_there_is(viewer: Any, entries: None) -> None:
    page = viewer.get("/audit?action=flag.updated").text
    assert '<option value="flag.updated" selected>Flag updated</option>' in page
    assert '<option value="dead_letter" >Dead letter</option>' in page


def test_what_a_link_narrowed_can_be_taken_away(viewer: Any, entries: None) -> None:
    page = viewer.get("/audit?subject=flag&name=flag-3&actor=anna&before=99").text
    assert 'href="/audit?subject=flag&amp;actor=anna" aria-label="Name flag-3: show all"' in page
    assert 'href="/audit?subject=flag&amp;name=flag-3" aria-label="Who anna: show all"' in page


def test_the_address_of_the_next_page_keeps_the_filters(viewer: Any, entries: None) -> None:
    page = viewer.get("/audit?subject=flag&q=reason")
    assert 'rel="next" href="/audit?subject=flag&amp;q=reason&amp;before=' in page.text


def test_the_oldest_come_first_where_the_address_says_so(viewer: Any, entries: None) -> None:
    page = viewer.get("/audit?subject=flag&sort=at")
    assert page.text.index(">flag-0<") < page.text.index(">flag-49<")
    assert ">flag-50<" not in page.text
    assert 'aria-sort="ascending"' in page.text
    assert '<input type="hidden" name="sort" value="at">' in page.text
    following = re.search(r'rel="next" href="([^"]+)"', page.text)
    assert following
    second = viewer.get(html.unescape(following[1])).text
    assert second.index(">flag-50<") < second.index(">flag-59<")
    assert ">flag-49<" not in second
    assert 'rel="prev" href="/audit?subject=flag&amp;sort=at&amp;before=' in second
    newest = viewer.get("/audit?subject=flag&sort=-at").text
    assert newest.index(">flag-59<") < newest.index(">flag-58<")
    assert 'aria-sort="descending"' in newest


def test_htmx_gets_the_table_alone_and_304_when_nothing_changed(viewer: Any, entries: None) -> None:
    part = viewer.htmx("/audit", "audit-table")
    assert part.status_code == 200
    assert part.text.lstrip().startswith('<section id="audit-table"')
    assert "csrf" not in part.text
    etag = {"If-None-Match": part.headers["ETag"]}
    assert viewer.htmx("/audit", "audit-table", headers=etag).status_code == 304
    for header in ("HX-Boosted", "HX-History-Restore-Request"):
        whole = viewer.htmx("/audit", "audit-table", headers={header: "true"})
        assert "<!DOCTYPE html>" in whole.text


def test_a_page_without_entries_says_what_to_do(viewer: Any) -> None:
    assert "Nothing fits" in viewer.get("/audit?subject=nothing").text


def test_a_long_list_costs_no_more_statements(viewer: Any, entries: None, app: Flask) -> None:
    with statements(app) as seen:
        viewer.get("/audit")
    assert 0 < len(seen) <= 12
