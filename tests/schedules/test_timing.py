"""When schedules are due: every operator, time zones, the days on which clocks are moved."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.errors import Invalid
from webapp.schedules.timing import (
    MOST_COUNTED,
    check_cron,
    check_zone,
    daily,
    in_words,
    monthly,
    next_after,
    plan_firing,
    upcoming,
    weekly,
    zones,
)

BERLIN, NEW_YORK, LORD_HOWE = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"


def moment(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}+00:00")


def due(cron: str, zone: str, after: str, count: int = 3) -> list[str]:
    found = upcoming(cron, zone, moment(after), count)
    assert all(item.tzinfo is UTC for item in found)
    return [f"{item:%Y-%m-%dT%H:%M}" for item in found]


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("* * * * *", ["2026-01-01T00:01", "2026-01-01T00:02"]),
        ("*/20 * * * *", ["2026-01-01T00:20", "2026-01-01T00:40"]),
        ("5-7 1 * * *", ["2026-01-01T01:05", "2026-01-01T01:06"]),
        ("10-30/15 * * * *", ["2026-01-01T00:10", "2026-01-01T00:25"]),
        ("50/5 * * * *", ["2026-01-01T00:50", "2026-01-01T00:55"]),
        ("0,30 6 * * *", ["2026-01-01T06:00", "2026-01-01T06:30"]),
        ("0 6 10 * *", ["2026-01-10T06:00", "2026-02-10T06:00"]),
        ("0 6 L * *", ["2026-01-31T06:00", "2026-02-28T06:00"]),
        ("0 6 LW * *", ["2026-01-30T06:00", "2026-02-27T06:00"]),
        ("0 6 31 * *", ["2026-01-31T06:00", "2026-03-31T06:00"]),
        ("0 6 1 JUL *", ["2026-07-01T06:00", "2027-07-01T06:00"]),
        ("0 6 1 3,9 *", ["2026-03-01T06:00", "2026-09-01T06:00"]),
        ("0 6 29 2 *", ["2028-02-29T06:00", "2032-02-29T06:00"]),
        ("0 6 * * mon", ["2026-01-05T06:00", "2026-01-12T06:00"]),
        ("0 6 * * 0", ["2026-01-04T06:00", "2026-01-11T06:00"]),
        ("0 6 * * 7", ["2026-01-04T06:00", "2026-01-11T06:00"]),
        ("0 6 * * MON-FRI", ["2026-01-01T06:00", "2026-01-02T06:00"]),
        ("0 6 * * 1#2", ["2026-01-12T06:00", "2026-02-09T06:00"]),
        ("0 6 * * 5L", ["2026-01-30T06:00", "2026-02-27T06:00"]),
        # Either kind of day will do where both are given.
        ("0 6 2 * MON", ["2026-01-02T06:00", "2026-01-05T06:00"]),
        # Both must fit where one begins with a star.
        ("0 6 */2 * MON", ["2026-01-05T06:00", "2026-01-19T06:00"]),
    ],
)
def test_every_operator_of_cron(cron: str, expected: list[str]) -> None:
    assert check_cron(cron) == cron
    assert due(cron, "UTC", "2026-01-01T00:00", len(expected)) == expected


@pytest.mark.parametrize(
    ("cron", "zone", "after", "expected"),
    [
        # Clocks go from 02:00 to 03:00 at 01:00 UTC: 02:30 does not exist, 03:00 is next.
        ("30 2 * * *", BERLIN, "2026-03-28T12:00", ["2026-03-29T01:00", "2026-03-30T00:30"]),
        ("*/30 2 * * *", BERLIN, "2026-03-28T12:00", ["2026-03-29T01:00", "2026-03-30T00:00"]),
        # Both fall on 03:00, and that is one firing.
        ("30 2,3 * * *", BERLIN, "2026-03-29T00:30", ["2026-03-29T01:00", "2026-03-29T01:30"]),
        ("0 2,3 * * *", BERLIN, "2026-03-29T00:30", ["2026-03-29T01:00", "2026-03-30T00:00"]),
        ("0 */2 * * *", BERLIN, "2026-03-29T00:30", ["2026-03-29T01:00", "2026-03-29T02:00"]),
        ("0 6 * * *", BERLIN, "2026-03-28T04:00", ["2026-03-28T05:00", "2026-03-29T04:00"]),
        # In every hour: none is left out, none is doubled.
        ("0 * * * *", BERLIN, "2026-03-28T23:30", ["2026-03-29T00:00", "2026-03-29T01:00"]),
        ("30 0-23 * * *", BERLIN, "2026-03-29T00:00", ["2026-03-29T00:30", "2026-03-29T01:30"]),
        # Clocks go from 03:00 to 02:00 at 01:00 UTC: 02:30 is at 00:30 and at 01:30.
        ("30 2 * * *", BERLIN, "2026-10-24T12:00", ["2026-10-25T00:30", "2026-10-26T01:30"]),
        ("30 2 * * *", BERLIN, "2026-10-25T00:30", ["2026-10-26T01:30", "2026-10-27T01:30"]),
        ("30 2 * * *", BERLIN, "2026-10-25T01:15", ["2026-10-26T01:30", "2026-10-27T01:30"]),
        ("*/30 2 * * *", BERLIN, "2026-10-24T12:00", ["2026-10-25T00:00", "2026-10-25T00:30"]),
        ("0 */2 * * *", BERLIN, "2026-10-24T23:30", ["2026-10-25T00:00", "2026-10-25T03:00"]),
        ("0 * * * *", BERLIN, "2026-10-24T23:30", ["2026-10-25T00:00", "2026-10-25T01:00"]),
        ("*/30 * * * *", BERLIN, "2026-10-25T00:30", ["2026-10-25T01:00", "2026-10-25T01:30"]),
        # New York: forward at 07:00 UTC, back at 06:00 UTC.
        ("30 2 * * *", NEW_YORK, "2026-03-07T12:00", ["2026-03-08T07:00", "2026-03-09T06:30"]),
        ("30 1 * * *", NEW_YORK, "2026-10-31T12:00", ["2026-11-01T05:30", "2026-11-02T06:30"]),
        ("0 9 * * MON", NEW_YORK, "2026-03-02T20:00", ["2026-03-09T13:00", "2026-03-16T13:00"]),
        # Half an hour is left out from 02:00, on an island.
        ("15 2 * * *", LORD_HOWE, "2026-10-03T00:00", ["2026-10-03T15:30", "2026-10-04T15:15"]),
        # Midnight itself does not exist.
        ("0 0 * * *", "Asia/Beirut", "2026-03-28T00:00", ["2026-03-28T22:00", "2026-03-29T21:00"]),
    ],
)
def test_days_on_which_clocks_are_moved(
    cron: str, zone: str, after: str, expected: list[str]
) -> None:
    assert due(cron, zone, after, len(expected)) == expected


@given(
    cron=st.sampled_from(["30 2 * * *", "*/7 1-3 * * *", "0 * * * *", "13 */3 * * *"]),
    zone=st.sampled_from([BERLIN, NEW_YORK, LORD_HOWE, "Asia/Beirut", "UTC"]),
    hours=st.integers(0, 366 * 24),
)
def test_due_times_rise_and_none_is_left_out_by_where_one_begins(
    cron: str, zone: str, hours: int
) -> None:
    start = moment("2026-01-01T00:00") + timedelta(hours=hours)
    found = upcoming(cron, zone, start, 6)
    assert found == sorted(set(found))
    assert found[0] > start
    # A beat asks anew after each firing, and must be told the same.
    assert [next_after(cron, zone, item) for item in found[:-1]] == found[1:]


@pytest.mark.parametrize(
    ("cron", "words"),
    [
        ("", "Five fields"),
        ("* * * *", "Five fields"),
        ("0 * * * * *", "Five fields"),
        ("@daily", "Five fields"),
        ("60 * * * *", "minute"),
        ("* 24 * * *", "hour"),
        ("* * 0 * *", "day of month"),
        ("* * * 13 *", "month"),
        ("* * * * 8", "day of week"),
        ("* * * * xyz", "day of week"),
        ("5-1 * * * *", "minute"),
        ("*/0 * * * *", "minute"),
        ("*/90 * * * *", "step of the minute"),
        ("0 */24 * * *", "step of the hour"),
        ("\u0661 * * * *", "minute"),
        ("0 0 L-3 * *", "day of month"),
        ("0 0 31 2 *", "day of month"),
        ("* " * 60, "100 characters"),
    ],
)
def test_what_is_no_cron_is_refused_by_field(cron: str, words: str) -> None:
    with pytest.raises(Invalid) as refused:
        check_cron(cron)
    assert words in refused.value.errors["cron"][0]


@given(st.text(alphabet="0123456789*/,-#LWMONTUE ", max_size=30))
def test_whatever_is_typed_is_read_or_refused(cron: str) -> None:
    try:
        good = check_cron(cron)
    except Invalid:
        return
    assert in_words(good)


@pytest.mark.parametrize("name", ["", "Berlin", "Europe", "../etc/passwd", "europe/berlin", "\0"])
def test_what_is_no_time_zone_is_refused(name: str) -> None:
    with pytest.raises(Invalid) as refused:
        check_zone(name)
    assert list(refused.value.errors) == ["timezone"]


def test_a_time_zone_is_known_by_its_name() -> None:
    assert {BERLIN, NEW_YORK, "UTC"} <= zones()
    assert check_zone(BERLIN) == BERLIN


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        (daily("06:30"), "30 6 * * *"),
        (weekly(["thu", "mon"], "00:00"), "0 0 * * mon,thu"),
        (monthly("31", "23:59"), "59 23 31 * *"),
        (monthly("last", "09:05"), "5 9 L * *"),
    ],
)
def test_simple_forms_become_cron(cron: str, expected: str) -> None:
    assert cron == expected
    assert check_cron(cron) == cron


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: daily("24:00"), "at"),
        (lambda: daily("6:30"), "at"),
        (lambda: daily("06:30\n"), "at"),
        (lambda: weekly([], "06:30"), "days"),
        (lambda: weekly(["someday"], "06:30"), "days"),
        (lambda: monthly("0", "06:30"), "day"),
        (lambda: monthly("32", "06:30"), "day"),
        (lambda: monthly("first", "06:30"), "day"),
    ],
)
def test_a_simple_form_that_does_not_do_names_its_field(make: object, field: str) -> None:
    assert callable(make)
    with pytest.raises(Invalid) as refused:
        make()
    assert list(refused.value.errors) == [field]


@pytest.mark.parametrize(
    ("cron", "words"),
    [
        ("30 6 * * *", "At 06:30 every day"),
        ("0 9 * * MON-FRI", "At 09:00 on Monday through Friday"),
        ("0 0 L * *", "At 00:00 on the last day of every month"),
        ("*/15 * * * *", "Every 15th minute of every hour"),
        ("0 0 1 * MON", "At 00:00 on the first day of month or on Monday"),
    ],
)
def test_an_expression_is_told_in_words(cron: str, words: str) -> None:
    assert in_words(cron) == words


@pytest.mark.parametrize(
    ("cron", "due_at", "now", "catch_up", "newest", "passed", "fires", "next_at"),
    [
        # On time.
        ("0 6 * * *", "01T06:00", "01T06:00", "none", "01T06:00", 0, True, "02T06:00"),
        ("* * * * *", "01T06:00", "01T06:00", "none", "01T06:00", 0, True, "01T06:01"),
        # Two hours late, and three days late: once, or not at all.
        ("0 6 * * *", "01T06:00", "01T08:00", "none", "01T06:00", 0, False, "02T06:00"),
        ("0 6 * * *", "01T06:00", "01T08:00", "one", "01T06:00", 0, True, "02T06:00"),
        ("0 6 * * *", "01T06:00", "04T08:00", "none", "04T06:00", 3, False, "05T06:00"),
        ("0 6 * * *", "01T06:00", "04T08:00", "one", "04T06:00", 3, True, "05T06:00"),
        # The newest of many is on time, the others were missed.
        ("* * * * *", "01T06:00", "01T07:00", "none", "01T07:00", 60, True, "01T07:01"),
        ("* * * * *", "01T00:00", "09T00:00", "one", "09T00:00", MOST_COUNTED, True, "09T00:01"),
        # A time that no expression gave, as of a row that was made by hand.
        ("0 0 1 1 *", "01T06:03", "02T00:00", "one", "01T06:03", 0, True, None),
    ],
)
def test_at_most_one_due_time_fires_and_the_rest_is_counted(
    *,
    cron: str,
    due_at: str,
    now: str,
    catch_up: str,
    newest: str,
    passed: int,
    fires: bool,
    next_at: str | None,
) -> None:
    june = "2026-06-"
    plan = plan_firing(
        cron, "UTC", due_at=moment(june + due_at), catch_up=catch_up, now=moment(june + now)
    )
    assert (plan.due_at, plan.passed, plan.fires) == (moment(june + newest), passed, fires)
    assert plan.next_at == moment(june + next_at if next_at else "2027-01-01T00:00")


def test_what_never_comes_due_ends() -> None:
    assert next_after("0 0 29 2 1#1", "UTC", moment("2026-01-01T00:00")) is not None
    assert next_after("0 0 */20 * 1L", "UTC", moment("2026-01-01T00:00")) is None
