"""How a time is written for programs."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.moments import rfc3339


@pytest.mark.parametrize(
    ("moment", "written"),
    [
        (datetime(2026, 11, 22, 12, tzinfo=UTC), "2026-11-22T12:00:00Z"),
        (datetime(2026, 11, 22, 12, 0, 0, 5, tzinfo=UTC), "2026-11-22T12:00:00.000005Z"),
        (datetime(2026, 11, 22, 1, tzinfo=timezone(timedelta(hours=2))), "2026-11-21T23:00:00Z"),
    ],
)
def test_a_time_is_written_in_utc(moment: datetime, written: str) -> None:
    assert rfc3339(moment) == written


@given(
    # Near the ends of the calendar a time with a zone may have no time in UTC.
    st.datetimes(
        min_value=datetime(2, 1, 1),  # noqa: DTZ001
        max_value=datetime(9998, 1, 1),  # noqa: DTZ001
        timezones=st.timezones(),
    )
)
def test_what_is_written_reads_back_as_the_same_moment(moment: datetime) -> None:
    written = rfc3339(moment)
    assert written.endswith("Z")
    assert datetime.fromisoformat(written) == moment.astimezone(UTC)
