"""The audit as a file: the same entries as the page, whole, harmless, and never all at once."""

import csv
import json
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any
from urllib.parse import urlencode

import pytest
from flask import Flask
from sqlalchemy.exc import OperationalError

from tests.conftest import ConsoleClient
from tests.statements import statements
from webapp.actors import SYSTEM, Actor
from webapp.audit.export import COLUMNS, row_batches
from webapp.audit.service import record
from webapp.audit.values import Change, Filters
from webapp.db import db, transaction

ANNA = Actor("user", "anna", "request-0123456789")
ODD = 'He said "no",\r\nthen\nnothing; äöü 🚦\rend'


def write(app: Flask, now: datetime, *entries: dict[str, Any]) -> None:
    """Add entries with what is given of them."""
    given = {"by": ANNA, "action": "flag.updated", "subject": "flag", "name": "beta", "at": now}
    with app.app_context(), transaction() as session:
        for entry in entries:
            record(session, **(given | entry))  # type: ignore[arg-type]


def rows_of(client: ConsoleClient, **query: str) -> list[dict[str, str]]:
    answer = client.get(f"/audit/export.csv?{urlencode(query)}")
    assert answer.status_code == 200
    return list(csv.DictReader(StringIO(answer.get_data(as_text=True), newline="")))


def looks(seen: list[str]) -> int:
    """How often the audit was read; who asks is looked up beside it."""
    return len([statement for statement in seen if "audit_entries" in statement])


def test_the_file_has_a_name_a_type_and_a_head(
    viewer: ConsoleClient, monkeypatch: pytest.MonkeyPatch, now: datetime
) -> None:
    monkeypatch.setattr("webapp.audit.pages.now", lambda: now)
    answer = viewer.get("/audit/export.csv?subject=nothing")
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="audit-20261122.csv"'
    assert answer.text == ",".join(COLUMNS) + "\r\n"


def test_a_row_has_the_whole_entry(app: Flask, viewer: ConsoleClient, now: datetime) -> None:
    before, after = [f"user-{number}" for number in range(50)], {"a": [2**60, 0.5, None]}
    write(app, now, {"reason": ODD, "changes": {"list": Change(before, after)}})
    (row,) = rows_of(viewer, subject="flag")
    assert (row["at"], row["actor_kind"], row["actor"]) == ("2026-11-22T12:00:00Z", "user", "anna")
    assert (row["action"], row["subject"], row["name"]) == ("flag.updated", "flag", "beta")
    assert (row["reason"], row["request_id"]) == (ODD, "request-0123456789")
    assert json.loads(row["changes"]) == {"list": {"old": before, "new": after}}
    assert ": " not in row["changes"]
    assert f"Entry {row['id']}, hash {row['hash'][:12]}…" in viewer.get("/audit").text


def test_what_is_not_there_is_empty(app: Flask, viewer: ConsoleClient, now: datetime) -> None:
    write(app, now, {"by": SYSTEM})
    (row,) = rows_of(viewer, subject="flag")
    assert (row["reason"], row["changes"], row["request_id"]) == ("", "{}", "")


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+49 30", "'+49 30"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\uff1d1", "'\uff1d1"),
        ("'=1", "'=1"),
        ("1=1", "1=1"),
    ],
)
def test_no_cell_is_a_formula(
    app: Flask, viewer: ConsoleClient, now: datetime, text: str, cell: str
) -> None:
    write(app, now, {"name": text, "reason": text, "changes": {text: Change(None, text)}})
    (row,) = rows_of(viewer, subject="flag")
    assert (row["name"], row["reason"]) == (cell, cell)
    assert json.loads(row["changes"]) == {text: {"old": None, "new": text}}


def test_a_cell_that_begins_with_white_space_is_no_formula_either(
    app: Flask, viewer: ConsoleClient, now: datetime
) -> None:
    # A reason is stripped; a name is kept as it comes.
    write(app, now, *({"name": f"{blank}=1"} for blank in "\t\r\n"))
    assert [row["name"] for row in rows_of(viewer, subject="flag")] == ["'\n=1", "'\r=1", "'\t=1"]


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"subject": "flag"},
        {"subject": "flag", "name": "beta"},
        {"actor": "switchyard"},
        {"action": "job.retried"},
        {"q": "100%"},
        {"from": "2026-11-23"},
        {"to": "2026-11-22"},
        {"from": "2026-11-22", "to": "2026-11-22", "actor": "anna"},
        {"from": "tomorrow", "q": " "},
    ],
)
def test_the_file_has_the_entries_of_the_page(
    app: Flask, viewer: ConsoleClient, now: datetime, query: dict[str, str]
) -> None:
    write(
        app,
        now,
        {"reason": "to 100% now"},
        {"name": "other", "by": SYSTEM},
        {"action": "job.retried", "subject": "job", "name": "12"},
        {"at": now + timedelta(days=1)},
    )
    page = viewer.get(f"/audit?{urlencode(query)}").text
    rows = rows_of(viewer, **query)
    assert rows
    assert [f'id="audit-entry-{row["id"]}"' in page for row in rows] == [True] * len(rows)
    assert page.count('id="audit-entry-') == len(rows)
    ids = [int(row["id"]) for row in rows]
    assert ids == sorted(ids, reverse=True)


def test_the_page_leads_to_the_file_of_its_filters(viewer: ConsoleClient) -> None:
    page = viewer.get("/audit?subject=flag&q=a%26b&from=2026-01-01&before=99").text
    assert 'href="/audit/export.csv?subject=flag&amp;q=a%26b&amp;from=2026-01-01"' in page
    assert 'href="/audit/export.csv"' in viewer.get("/audit").text


def test_a_stranger_gets_no_file(client: ConsoleClient) -> None:
    answer = client.get("/audit/export.csv")
    assert answer.status_code == 302
    assert answer.location.startswith("/sign-in")


def test_a_long_file_is_read_batch_by_batch_and_holds_nothing_between(
    app: Flask, viewer: ConsoleClient, now: datetime
) -> None:
    write(app, now, *({"reason": str(number)} for number in range(3_000)))
    with app.app_context():
        pool: Any = db.engine.pool
    held = pool.checkedout()
    with statements(app) as seen:
        answer = viewer.get("/audit/export.csv?subject=flag")
        chunks = answer.iter_encoded()
        text = b""
        for number in range(1, 4):
            text += next(chunks)
            assert looks(seen) == number
            assert pool.checkedout() == held
        text += b"".join(chunks)
    # The last batch was full, so it took one more look to see the end.
    assert looks(seen) == 4
    rows = list(csv.DictReader(StringIO(text.decode(), newline="")))
    assert [row["reason"] for row in rows] == [str(number) for number in reversed(range(3_000))]


def test_a_file_that_nobody_reads_to_its_end_stops_reading(
    app: Flask, viewer: ConsoleClient, now: datetime
) -> None:
    write(app, now, *({} for _ in range(1_500)))
    with statements(app) as seen:
        answer = viewer.get("/audit/export.csv")
        answer.close()
    assert looks(seen) == 1


def test_what_is_written_meanwhile_is_in_no_batch(app: Flask, now: datetime) -> None:
    write(app, now, *({"reason": str(number)} for number in range(3)))
    with app.app_context():
        batches = row_batches(Filters(), size=2)
        first = next(batches)
        write(app, now, {"reason": "later"})
        rest = list(batches)
    assert [row[7] for batch in (first, *rest) for row in batch] == ["2", "1", "0"]


def test_a_time_is_told_to_its_last_digit(app: Flask, viewer: ConsoleClient) -> None:
    write(app, datetime(2026, 1, 2, 3, 4, 5, 678_900, tzinfo=UTC), {})
    assert rows_of(viewer, subject="flag")[0]["at"] == "2026-01-02T03:04:05.678900Z"


def test_a_database_that_is_away_is_told_before_the_file_begins(
    viewer: ConsoleClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OperationalError("", {}, Exception())

    monkeypatch.setattr("webapp.audit.export.older_entries", fail)
    assert viewer.get("/audit/export.csv").status_code == 503
