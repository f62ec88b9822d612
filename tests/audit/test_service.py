"""Writing the audit and reading it back, on both databases."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum

import pytest
from sqlalchemy.orm import Session

from webapp.actors import SYSTEM, Actor
from webapp.audit.pending import write_pending
from webapp.audit.queries import find_entries, known_actions, known_subjects, recent_entries
from webapp.audit.service import history, record
from webapp.audit.values import Change, Entry, FieldChange, Filters
from webapp.paging import Cursor, Page

ANNA = Actor("user", "anna", "request-1")


class Colour(StrEnum):
    RED = "red"


def write(session: Session, at: datetime, **more: object) -> None:
    given = {"by": ANNA, "action": "flag.updated", "subject": "flag", "name": "beta"} | more
    record(session, at=at, **given)  # type: ignore[arg-type]
    write_pending(session)


def test_an_entry_says_who_did_what_when_and_why(session: Session, now: datetime) -> None:
    write(session, now, reason=" launch ", changes={"percentage": Change(10, 25.5)})
    (entry,) = history(session, "flag", "beta")
    assert (entry.actor_kind, entry.actor, entry.request_id) == ("user", "anna", "request-1")
    assert (entry.at, entry.action, entry.reason) == (now, "flag.updated", "launch")
    assert entry.changes == (FieldChange("percentage", 10, 25.5),)


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (None, None),
        (True, True),
        (0.25, 0.25),
        (Colour.RED, "red"),
        (("b", "a"), ["b", "a"]),
        (frozenset({"b", "a"}), ["a", "b"]),
        (datetime(2026, 1, 2, 3, tzinfo=UTC), "2026-01-02T03:00:00Z"),
        (datetime(2026, 1, 2, 3, tzinfo=timezone(timedelta(hours=2))), "2026-01-02T01:00:00Z"),
        (
            {"plan": {"at": datetime(2026, 1, 2, tzinfo=UTC)}},
            {"plan": {"at": "2026-01-02T00:00:00Z"}},
        ),
        (2**60, 2**60),
        ("äöü 🚦", "äöü 🚦"),
    ],
)
def test_values_are_kept_as_json(
    session: Session, now: datetime, value: object, kept: object
) -> None:
    write(session, now, changes={"field": Change(None, value)})
    session.expire_all()
    (entry,) = history(session, "flag", "beta")
    assert entry.changes[0].new == kept


@pytest.mark.parametrize(
    "changes",
    [
        {"password": Change("hunter2", "hunter2")},
        {"metadata": Change({}, {"deep": [{"api_token": "hunter2"}]})},
        {"metadata": Change({"client_secret": "hunter2"}, None)},
        {"location": Change("", "postgresql://me:hunter2@host/db")},
    ],
)
def test_no_secret_gets_into_the_audit(
    session: Session, now: datetime, changes: dict[str, Change]
) -> None:
    write(session, now, changes=changes)
    assert "hunter2" not in repr(history(session, "flag", "beta"))


def test_an_entry_shares_the_fate_of_its_change(session: Session, now: datetime) -> None:
    write(session, now)
    session.rollback()
    assert history(session, "flag", "beta") == []


def test_history_is_of_one_thing_newest_first_and_bounded(session: Session, now: datetime) -> None:
    for number in range(4):
        write(session, now, reason=str(number))
    write(session, now, name="other")
    write(session, now, subject="job")
    assert [entry.reason for entry in history(session, "flag", "beta", limit=3)] == ["3", "2", "1"]


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        (Filters(), ["d", "c", "b", "a"]),
        (Filters(subject="flag"), ["b", "a"]),
        (Filters(subject="flag", name="beta"), ["a"]),
        (Filters(actor="switchyard"), ["d"]),
        (Filters(action="job.retried"), ["c"]),
        (Filters(text="NEWS"), ["b"]),
        (Filters(text="100%"), ["a"]),
        (Filters(text="%"), ["a"]),
        (Filters(text="_"), ["c"]),
        (Filters(actor="nobody"), []),
    ],
)
def test_filters_narrow_the_audit(
    session: Session, now: datetime, filters: Filters, found: list[str]
) -> None:
    rows: dict[str, dict[str, object]] = {
        "a": {"name": "beta", "reason": "to 100% now"},
        "b": {"name": "newsletter", "reason": "why not"},
        "c": {"subject": "job", "action": "job.retried", "name": "12", "reason": "a_b"},
        "d": {"subject": "source", "name": "airports"},
    }
    for key, more in rows.items():
        by = SYSTEM if key == "d" else ANNA
        write(session, now, **more, by=replace(by, request_id=key))
    page = find_entries(session, filters, Cursor())
    assert [entry.request_id for entry in page.rows] == found
    assert page.total == len(found)


def test_a_span_of_time_holds_its_first_moment_but_not_its_last(
    session: Session, now: datetime
) -> None:
    for hours in range(4):
        write(session, now + timedelta(hours=hours), reason=str(hours))
    filters = Filters(since=now + timedelta(hours=1), until=now + timedelta(hours=3))
    assert [entry.reason for entry in find_entries(session, filters, Cursor()).rows] == ["2", "1"]


def test_pages_follow_one_another_though_all_entries_are_of_one_moment(
    session: Session, now: datetime
) -> None:
    for number in range(7):
        write(session, now, reason=str(number))
    first = find_entries(session, Filters(), Cursor(), size=3)
    second = find_entries(session, Filters(), Cursor(before=first.older), size=3)
    third = find_entries(session, Filters(), Cursor(before=second.older), size=3)
    back = find_entries(session, Filters(), Cursor(after=second.newer), size=3)
    reasons = [[entry.reason for entry in page.rows] for page in (first, second, third, back)]
    assert reasons == [["6", "5", "4"], ["3", "2", "1"], ["0"], ["6", "5", "4"]]
    assert (first.newer, third.older, back.newer) == (None, None, None)


def test_pages_follow_one_another_from_the_oldest_on_too(session: Session, now: datetime) -> None:
    for number in range(7):
        write(session, now, reason=str(number))

    def page_at(**place: int | None) -> Page[Entry]:
        return find_entries(session, Filters(), Cursor(oldest_first=True, **place), size=3)

    first = page_at()
    second = page_at(after=first.newer)
    third = page_at(after=second.newer)
    back = page_at(before=second.older)
    last_back = page_at(before=third.older)
    pages = (first, second, third, back, last_back)
    reasons = [[entry.reason for entry in page.rows] for page in pages]
    whole = [["0", "1", "2"], ["3", "4", "5"], ["6"]]
    assert reasons == [*whole, whole[0], whole[1]]
    assert (first.older, third.newer, back.older) == (None, None, None)
    assert (last_back.older, last_back.newer) == (second.older, second.newer)


def test_the_filters_offer_what_there_is(session: Session, now: datetime) -> None:
    assert (known_subjects(session), known_actions(session)) == ([], [])
    for action in ("job.retried", "flag.updated", "flag.created", "flag.updated"):
        write(session, now, action=action, subject=action.partition(".")[0])
    assert known_subjects(session) == ["flag", "job"]
    assert known_actions(session) == ["flag.created", "flag.updated", "job.retried"]


def test_the_last_changes_of_all_are_told_in_short(session: Session, now: datetime) -> None:
    write(session, now, name="other")
    write(session, now, changes={"whitelist": Change([], [str(n) for n in range(5000)])})
    latest, before = recent_entries(session, 2)
    assert (latest.name, before.name) == ("beta", "other")
    assert str(latest.changes[0].new).startswith("5,000 entries")
