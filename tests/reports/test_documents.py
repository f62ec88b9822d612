"""Documents: what stands in them, that texts of others stay texts, that sums are right."""

import json
import re
from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from tests.architecture.markup import elements_of
from webapp.reports.documents import (
    operations_facts,
    operations_html,
    operations_rows,
    percent,
    source_html,
)
from webapp.reports.values import (
    CauseCount,
    Counts,
    DayOfType,
    NamedCount,
    Operations,
    RunFigures,
    SourceFigures,
)

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
EVIL = "<script>alert(1)</script>&\"'"


def operations(days: list[DayOfType], name: str = "etl") -> Operations:
    return Operations(
        since=NOW - timedelta(days=7),
        until=NOW,
        days=days,
        letters=[CauseCount(name, f"{name}Error", "attempts_spent", 1200)],
        openings=[NamedCount(name, "opened", 2)],
        flag_changes=[NamedCount(name, "flag.updated", 3)],
    )


def source(name: str) -> SourceFigures:
    run = RunFigures(
        started_at=NOW,
        ended_at=NOW,
        status="succeeded",
        processed=10,
        inserted=1,
        updated=2,
        unchanged=3,
        rejected=4,
    )
    return SourceFigures(
        name=name,
        kind="csv",
        records=6,
        since=NOW - timedelta(days=7),
        until=NOW,
        runs=[run],
        capped=False,
        sample=[{name: name}, {"other": "1"}],
    )


COUNTS = st.builds(
    lambda good, bad, retried: Counts(
        runs=good + bad, succeeded=good, failed=bad, retried=retried, dead=bad
    ),
    *[st.integers(0, 10**9)] * 3,
)
DAYS = st.lists(
    st.builds(
        DayOfType,
        st.dates(date(2026, 11, 15), date(2026, 11, 22)),
        st.text(st.characters(codec="utf-8"), max_size=20),
        COUNTS,
    ),
    max_size=20,
)


@given(DAYS)
def test_sums_by_day_by_type_and_of_all_are_the_same(days: list[DayOfType]) -> None:
    figures = operations(days)
    for parts in (figures.by_day(), figures.by_type()):
        total = Counts()
        for counts in parts.values():
            total = total.plus(counts)
        assert total == figures.total()


@given(st.text(max_size=40))
def test_whatever_a_name_holds_it_adds_no_element(name: str) -> None:
    plain = operations([DayOfType(date(2026, 11, 20), "etl", Counts(runs=1, succeeded=1))])
    named = operations([DayOfType(date(2026, 11, 20), name, Counts(runs=1, succeeded=1))], name)
    wanted = [element.tag for element in elements_of(operations_html(plain, written_at=NOW))]
    found = [element.tag for element in elements_of(operations_html(named, written_at=NOW))]
    assert found == wanted


def test_texts_of_others_are_escaped() -> None:
    for html in (
        operations_html(operations([], EVIL), written_at=NOW),
        source_html(source(EVIL), written_at=NOW),
    ):
        assert "<script" not in html
        assert "&lt;script&gt;" in html


def test_a_document_stands_by_itself_and_asks_nobody() -> None:
    for html in (
        operations_html(operations([]), written_at=NOW),
        source_html(source("airports"), written_at=NOW),
    ):
        assert html.startswith("<!doctype html>")
        assert not re.search(r"(?:src|href)=|https?://|url\(|@import|<script", html)


def test_the_chart_has_a_bar_for_each_day_also_those_without_jobs() -> None:
    days = [DayOfType(date(2026, 11, 20), "etl", Counts(runs=3, succeeded=2, failed=1))]
    html = operations_html(operations(days), written_at=NOW)
    assert html.count('<rect class="good"') == 8  # seven days from noon to noon touch eight
    assert "2026-11-20: 2 succeeded, 1 failed" in html
    assert "1,200" in html


def test_without_figures_it_says_so() -> None:
    nothing = Operations(
        since=NOW - timedelta(days=1),
        until=NOW,
        days=[],
        letters=[],
        openings=[],
        flag_changes=[],
    )
    html = operations_html(nothing, written_at=NOW)
    assert html.count("None in this time.") == 4


def test_rows_have_a_line_for_each_day_and_type() -> None:
    days = [
        DayOfType(date(2026, 11, 20), "etl", Counts(runs=3, succeeded=2, failed=1)),
        DayOfType(date(2026, 11, 20), "idle", Counts()),
    ]
    assert list(operations_rows(operations(days)))[1:] == [
        ["2026-11-20", "etl", "3", "2", "1", "0", "0", "66.67"],
        ["2026-11-20", "idle", "0", "0", "0", "0", "0", ""],
    ]


def test_facts_are_json_but_for_their_times() -> None:
    days = [DayOfType(date(2026, 11, 20), "etl", Counts(runs=3, succeeded=2, failed=1))]
    facts = operations_facts(operations(days), written_at=NOW)
    assert json.loads(json.dumps(facts, default=str))["total"]["runs"] == 3


def test_only_what_is_whole_is_called_100_percent() -> None:
    assert [percent(rate) for rate in (None, 0.0, 66.666, 99.999, 100.0)] == [
        "none",
        "0.0 %",
        "66.7 %",
        "99.9 %",
        "100.0 %",
    ]
