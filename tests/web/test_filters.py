"""The wording of times, numbers and tracebacks, as tables of cases."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from markupsafe import Markup

from webapp.formats import bytes_, duration, number, percent, plain, utc
from webapp.web.filters import ago, relative, traceback_lines

NOW = datetime(2026, 11, 22, 5, 45, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("age", "text"),
    [
        (0, "just now"),
        (9.9, "just now"),
        (-0.4, "in a moment"),
        (-9, "in a moment"),
        (10, "10 s ago"),
        (59.9, "50 s ago"),
        (60, "1 min ago"),
        (185, "3 min ago"),
        (-185, "in 3 min"),
        (3599, "59 min ago"),
        (3600, "1 h ago"),
        (-7300, "in 2 h"),
        (86_399, "23 h ago"),
        (86_400, "1 d ago"),
        (29 * 86_400, "29 d ago"),
        (31 * 86_400, "1 mo ago"),
        (364 * 86_400, "12 mo ago"),
        (800 * 86_400, "2 y ago"),
    ],
)
def test_relative_time(age: float, text: str) -> None:
    assert relative(age) == text


def test_ago_carries_the_exact_time() -> None:
    assert ago(NOW - timedelta(minutes=3), NOW) == (
        '<time datetime="2026-11-22T05:42:10Z" title="2026-11-22 05:42:10 UTC" data-ago>'
        "3 min ago</time>"
    )


def test_ago_is_markup_and_ahead_is_worded_so() -> None:
    answer = ago(NOW + timedelta(minutes=3), NOW)
    assert isinstance(answer, Markup)
    assert ">in 3 min<" in answer


def test_ago_turns_other_zones_into_utc() -> None:
    when = datetime(2026, 11, 22, 6, 42, 10, tzinfo=timezone(timedelta(hours=1)))
    assert 'datetime="2026-11-22T05:42:10Z"' in ago(when, NOW)


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="without a zone"):
        utc(datetime(2026, 11, 22))  # noqa: DTZ001 - the fault under test


@pytest.mark.parametrize(
    ("value", "capped", "text"),
    [
        (0, False, "0"),
        (1234, False, "1,234"),
        (10_000, True, "10,000+"),
        (12.5, False, "12.5"),
        (-3, False, "-3"),
        (None, False, "—"),
    ],
)
def test_number(value: float | None, capped: bool, text: str) -> None:
    assert number(value, capped) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 %"),
        (25, "25 %"),
        (25.0, "25 %"),
        (12.5, "12.5 %"),
        (0.01, "0.01 %"),
        (99.999, "100 %"),
        (100, "100 %"),
        (-0.001, "0 %"),
        (None, "—"),
    ],
)
def test_percent(value: float | None, text: str) -> None:
    assert percent(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (-0.2, "0 ms"),
        (0.0004, "0 ms"),
        (0.85, "850 ms"),
        (0.9996, "1 s"),
        (3.2, "3.2 s"),
        (3.0, "3 s"),
        (59.97, "1 min"),
        (250, "4 min 10 s"),
        (3600, "1 h"),
        (7500, "2 h 5 min"),
        (86_400, "1 d"),
        (90_000, "1 d 1 h"),
        (None, "—"),
    ],
)
def test_duration(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (512, "512 B"),
        (1023.99, "1 KiB"),
        (1536, "1.5 KiB"),
        (20 * 1024**2, "20 MiB"),
        (3 * 1024**4, "3 TiB"),
        (None, "—"),
    ],
)
def test_bytes(size: float | None, text: str) -> None:
    assert bytes_(size) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "—"),
        ("", "—"),
        ([], "—"),
        (0, "0"),
        (False, "false"),
        ("beta", "beta"),
        (25.5, "25.5"),
        (25.0, "25"),
        (9_007_199_254_740_993, "9007199254740993"),
        (["eu", "ü"], '["eu", "ü"]'),
        (NOW, "2026-11-22 05:45:10 UTC"),
    ],
)
def test_plain(value: object, text: str) -> None:
    assert plain(value) == text


TRACEBACK = """\
Traceback (most recent call last):
  File "/srv/app/tasks/etl.py", line 41, in ingest
    rows = fetch(source.url)
           ^^^^^^^^^^^^^^^^^
  File "/srv/app/.venv/lib/python3.11/site-packages/httpx/_client.py", line 825, in get
    return self.request("GET", url)
httpx.ConnectTimeout: timed out
  after 5 s

During handling of the above exception, another exception occurred:
"""


def test_own_frames_are_told_from_those_of_libraries() -> None:
    kinds = [line.kind for line in traceback_lines(TRACEBACK)]
    assert kinds == [
        *["plain", "own", "own", "own", "foreign", "foreign"],
        *["error", "plain", "plain", "plain"],
    ]


def test_the_lines_of_a_traceback_are_kept_as_they_are() -> None:
    assert "\n".join(line.text for line in traceback_lines(TRACEBACK)) == TRACEBACK.rstrip("\n")


def test_no_traceback_is_one_empty_line() -> None:
    assert [line.text for line in traceback_lines(None)] == [""]
