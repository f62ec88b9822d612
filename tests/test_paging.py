"""Pages of lists: bounded scans reach every row, and times are found by ids."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from webapp import paging
from webapp.audit.models import AuditEntry
from webapp.db import DbSession
from webapp.jobs.models import Job
from webapp.paging import Cursor, Page, Scan, between, fetch_page

WANTED = "wanted"


def add(session: Session, count: int, wanted: set[int], now: datetime, step: int = 1) -> None:
    """Add entries whose ids rise by ``step``; those at the places ``wanted`` bear its name."""
    session.add_all(
        entry(
            id=1 + place * step,
            at=now + timedelta(minutes=place),
            name=WANTED if place in wanted else "other",
        )
        for place in range(count)
    )
    session.flush()


def entry(*, id: int, at: datetime, name: str) -> AuditEntry:  # noqa: A002  # the column's name
    return AuditEntry(
        id=id,
        at=at,
        actor_kind="user",
        actor="anna",
        action="flag.updated",
        subject="flag",
        name=name,
        reason="",
        changes={},
        previous_hash=f"before {id}",
        hash=f"hash {id}",
    )


def page(session: DbSession, cursor: Cursor, *, rows: int | None, size: int = 3) -> Page[int]:
    return fetch_page(
        session,
        select(AuditEntry).where(AuditEntry.name == WANTED),
        Scan(AuditEntry.id, rows=rows),
        cursor,
        present=lambda entry: entry.id,
        size=size,
    )


def walk(session: DbSession, *, rows: int | None, oldest_first: bool, back: bool) -> Iterator[int]:
    """Go from one end of the list to the other by its links."""
    onward = "newer" if oldest_first != back else "older"
    cursor = Cursor(oldest_first=oldest_first)
    if back:
        # From behind the other end, as whoever came to the last page goes back.
        cursor = Cursor(after=0) if not oldest_first else Cursor(before=10**6, oldest_first=True)
    for _ in range(200):
        found = page(session, cursor, rows=rows)
        yield from reversed(found.rows) if back else found.rows
        place = getattr(found, onward)
        if place is None:
            return
        sides = {"before": place} if onward == "older" else {"after": place}
        cursor = Cursor(**sides, oldest_first=oldest_first)
    pytest.fail("the list has no end")


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    table=st.tuples(st.integers(0, 30), st.sets(st.integers(0, 29)), st.integers(1, 3)),
    rows=st.one_of(st.none(), st.integers(1, 12)),
    oldest_first=st.booleans(),
    back=st.booleans(),
)
def test_every_row_that_fits_is_shown_once_in_order_however_few_are_looked_through_at_a_time(
    session: Session,
    now: datetime,
    table: tuple[int, set[int], int],
    rows: int | None,
    oldest_first: bool,
    back: bool,
) -> None:
    count, wanted, step = table
    nested = session.begin_nested()
    add(session, count, wanted, now, step)
    seen = list(walk(session, rows=rows, oldest_first=oldest_first, back=back))
    nested.rollback()
    expected = sorted(1 + place * step for place in wanted if place < count)
    assert seen == (expected if oldest_first != back else expected[::-1])


def test_a_bounded_page_counts_what_it_looked_through(session: Session, now: datetime) -> None:
    add(session, 20, {1, 18, 19}, now)
    first = page(session, Cursor(), rows=10)
    assert (first.rows, first.total, first.searched, first.older) == ([20, 19], 2, 10, 11)
    second = page(session, Cursor(before=first.older), rows=10)
    assert (second.rows, second.total, second.searched, second.older) == ([2], 1, 10, None)


def test_a_page_that_saw_everything_does_not_speak_of_bounds(
    session: Session, now: datetime
) -> None:
    add(session, 10, {1, 2}, now)
    found = page(session, Cursor(), rows=10)
    assert (found.rows, found.total, found.searched, found.older) == ([3, 2], 2, None, None)


def test_a_page_without_rows_still_leads_back(session: Session, now: datetime) -> None:
    add(session, 20, {19}, now)
    found = page(session, Cursor(before=10), rows=5)
    assert (found.rows, found.newer, found.older) == ([], 9, 5)


@pytest.mark.parametrize(
    ("since", "until", "places"),
    [
        (None, None, range(30)),
        (5, None, range(5, 30)),
        (None, 5, range(5)),
        (5, 9, range(5, 9)),
        (40, None, ()),
        (None, 0, ()),
    ],
)
def test_the_rows_of_a_time_are_found_by_their_ids(
    session: Session,
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
    since: int | None,
    until: int | None,
    places: list[int],
) -> None:
    monkeypatch.setattr(paging, "_OUT_OF_ORDER", 3)
    add(session, 30, set(), now)
    scan = between(
        session,
        AuditEntry.id,
        AuditEntry.at,
        since=None if since is None else now + timedelta(minutes=since),
        until=None if until is None else now + timedelta(minutes=until),
    )
    found = fetch_page(
        session, select(AuditEntry), scan, Cursor(), present=lambda entry: entry.id, size=100
    )
    # The bounds reach a little further than the times, never less far.
    slack = 3
    assert {1 + place for place in places} <= set(found.rows)
    assert len(found.rows) <= len(places) + slack


def test_a_row_whose_clock_was_late_is_found_by_its_time(session: Session, now: datetime) -> None:
    add(session, 10, set(), now)
    session.add(entry(id=50, at=now + timedelta(minutes=2), name="late"))
    session.flush()
    moment = now + timedelta(minutes=2)
    scan = between(
        session, AuditEntry.id, AuditEntry.at, since=moment, until=moment + timedelta(seconds=1)
    )
    wanted = select(AuditEntry).where(AuditEntry.at == moment)
    found = fetch_page(session, wanted, scan, Cursor(), present=lambda entry: entry.id)
    assert found.rows == [50, 3]


def test_of_rows_that_share_a_moment_none_is_lost_however_they_lie_in_the_table(
    session: Session, now: datetime
) -> None:
    """PostgreSQL moves a row that is updated, and reads equal times in the order they lie in."""
    ties = paging._OUT_OF_ORDER + 500
    session.execute(insert(Job), [waiting(1 + place, now) for place in range(ties)])
    for rows in (Job.id <= 400, Job.id > ties - 200):
        session.execute(update(Job).where(rows).values(state="running"))
    scan = between(session, Job.id, Job.created_at, since=now, until=now + timedelta(seconds=1))
    assert (scan.low, scan.high) == (1, ties)
    asked = select(Job).where(Job.created_at >= now)
    seen: list[int] = []
    cursor = Cursor()
    while True:
        found = fetch_page(session, asked, scan, cursor, present=lambda job: job.id, size=400)
        seen += found.rows
        if found.older is None:
            break
        # What is read while somebody changes it is read once all the same.
        read = update(Job).where(Job.id.in_(found.rows[:50]))
        session.execute(read.values(state="succeeded"))
        cursor = Cursor(before=found.older)
    assert seen == list(range(ties, 0, -1))


def waiting(id: int, created_at: datetime) -> dict[str, object]:  # noqa: A002  # the column's name
    return {
        "id": id,
        "type": "test_echo",
        "queue": "default",
        "priority": 0,
        "state": "queued",
        "arguments": {},
        "run_at": created_at,
        "created_at": created_at,
        "created_by": "anna",
    }
