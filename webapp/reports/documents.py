"""Turns figures into documents.  Pure: values in, texts out, every text of others' escaped.

An HTML document stands by itself: its stylesheet and its charts are inside, it runs no script and
asks no other host, so it looks the same in a mailbox ten years on.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from html import escape
from typing import Any, Final

from webapp.reports.values import Counts, Operations, SourceFigures

Rows = Iterable[Sequence[object]]

_STYLE: Final = """
:root{color-scheme:light dark;--ink:#1c2430;--soft:#5b6675;--line:#d9dee5;--good:#2b8a4b;
--bad:#c0392b;--ground:#fff}
@media (prefers-color-scheme:dark){:root{--ink:#e6eaf0;--soft:#9aa5b4;--line:#333c48;--good:#4cb774;
--bad:#ec6a5c;--ground:#12161c}}
body{margin:2rem auto;max-width:60rem;padding:0 1rem;background:var(--ground);color:var(--ink);
font:15px/1.5 system-ui,sans-serif}
h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .5rem}
p{margin:.25rem 0;color:var(--soft)}
.frame{overflow-x:auto}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:.35rem .6rem;border-bottom:1px solid var(--line);text-align:left;max-width:24rem;
overflow-wrap:break-word}th:first-child,td:first-child{padding-left:0}
th{color:var(--soft);font-weight:600;white-space:nowrap}.num{text-align:right;white-space:nowrap}
svg{width:100%;height:8rem;display:block}.good{fill:var(--good)}.bad{fill:var(--bad)}
.axis{stroke:var(--line)}
dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(8rem,1fr));gap:1rem;margin:1.5rem 0}
dt{color:var(--soft);font-size:.85rem}dd{margin:0;font-size:1.4rem;font-weight:600}
"""
_WIDTH: Final = 900.0
_HEIGHT: Final = 120.0
_CHART_GAP: Final = 2.0
_NUM: Final = ' class="num"'


def operations_html(figures: Operations, *, written_at: datetime) -> str:
    """Return the operations report as one HTML document."""
    total = figures.total()
    types = [
        (name, *_numbers(counts), percent(counts.success_rate))
        for name, counts in figures.by_type().items()
    ]
    letters = [
        (item.exception_type, item.type, item.reason.replace("_", " "), item.count)
        for item in figures.letters
    ]
    return _page(
        "Operations report",
        _span(figures.since, figures.until, written_at),
        _figures(
            ("Attempts", _number(total.runs)),
            ("Success rate", percent(total.success_rate)),
            ("Retried", _number(total.retried)),
            ("Dead letters", _number(total.dead)),
            ("Breaker openings", _number(sum(item.count for item in figures.openings))),
            ("Flag changes", _number(sum(item.count for item in figures.flag_changes))),
        ),
        _section("By day", _chart(figures)),
        _table(
            "By type",
            ("Type", "Attempts", "Succeeded", "Failed", "Retried", "Dead", "Success rate"),
            types,
        ),
        _table("Dead letters by cause", ("Error", "Type", "Reason", "Letters"), letters),
        _table(
            "Breaker openings",
            ("Breaker", "Opened"),
            [(item.name, item.count) for item in figures.openings],
        ),
        _table(
            "Flag changes",
            ("Flag", "What", "Times"),
            [
                (item.name, item.what.removeprefix("flag.").replace("_", " "), item.count)
                for item in figures.flag_changes
            ],
        ),
    )


def source_html(figures: SourceFigures, *, written_at: datetime) -> str:
    """Return the report of a source as one HTML document."""
    runs = [
        (
            _moment(run.started_at),
            run.status,
            run.processed,
            run.inserted,
            run.updated,
            run.unchanged,
            run.rejected,
        )
        for run in figures.runs
    ]
    columns = list(dict.fromkeys(name for row in figures.sample for name in row))
    ended = [run.status for run in figures.runs if run.status in {"succeeded", "failed"}]
    rate = 100 * ended.count("succeeded") / len(ended) if ended else None
    return _page(
        f"Source {figures.name}",
        _span(figures.since, figures.until, written_at),
        _figures(
            ("Records", _number(figures.records)),
            ("Runs", _number(len(runs)) + ("+" if figures.capped else "")),
            ("Success rate", percent(rate)),
            ("Rows read", _number(sum(run.processed for run in figures.runs))),
            ("Rejected", _number(sum(run.rejected for run in figures.runs))),
        ),
        _table(
            "Runs",
            ("Begun", "Status", "Rows", "New", "Changed", "Unchanged", "Rejected"),
            runs,
        ),
        _table(
            f"The first {len(figures.sample)} records",
            columns,
            [[row.get(name, "") for name in columns] for row in figures.sample],
        ),
    )


def operations_rows(figures: Operations) -> Iterator[list[str]]:
    """Yield the operations report as rows: a line for each day and type that ran."""
    yield ["day", "type", "runs", "succeeded", "failed", "retried", "dead", "success_rate"]
    for item in figures.days:
        rate = item.counts.success_rate
        yield [
            item.day.isoformat(),
            item.type,
            *(str(number) for number in _numbers(item.counts)),
            "" if rate is None else f"{rate:.2f}",
        ]


def operations_facts(figures: Operations, *, written_at: datetime) -> dict[str, Any]:
    """Return the operations report as JSON has it."""
    return {
        "kind": "operations",
        "written_at": written_at,
        "since": figures.since,
        "until": figures.until,
        "total": _facts_of(figures.total()),
        "types": [
            {"type": name, **_facts_of(counts)} for name, counts in figures.by_type().items()
        ],
        "days": [
            {"day": item.day.isoformat(), "type": item.type, **_facts_of(item.counts)}
            for item in figures.days
        ],
        "dead_letters": [asdict(item) for item in figures.letters],
        "breaker_openings": [
            {"breaker": item.name, "count": item.count} for item in figures.openings
        ],
        "flag_changes": [
            {"flag": item.name, "action": item.what, "count": item.count}
            for item in figures.flag_changes
        ],
    }


def source_facts(figures: SourceFigures, *, written_at: datetime) -> dict[str, Any]:
    """Return the report of a source as JSON has it."""
    return {
        "kind": "source",
        "written_at": written_at,
        "source": {"name": figures.name, "kind": figures.kind, "records": figures.records},
        "since": figures.since,
        "until": figures.until,
        "runs": [asdict(run) for run in figures.runs],
        "runs_capped": figures.capped,
        "sample": list(figures.sample),
    }


class Percent(str):
    """A share as it is written; in a table it stands under the numbers."""

    __slots__ = ()


def percent(rate: float | None) -> Percent:
    """Write a share of 0-100; only what is whole is called 100 %."""
    if rate is None:
        return Percent("none")
    shown = min(rate, 99.9) if rate < 100 else rate  # noqa: PLR2004 - a percentage
    return Percent(f"{shown:.1f} %")


def _facts_of(counts: Counts) -> dict[str, Any]:
    return {**asdict(counts), "success_rate": counts.success_rate}


def _numbers(counts: Counts) -> tuple[int, ...]:
    return (counts.runs, counts.succeeded, counts.failed, counts.retried, counts.dead)


def _page(title: str, span: str, *parts: str) -> str:
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body><main><h1>{escape(title)}</h1><p>{escape(span)}</p>\n"
        + "\n".join(parts)
        + "\n</main></body></html>\n"
    )


def _span(since: datetime, until: datetime, written_at: datetime) -> str:
    return f"{_moment(since)} to {_moment(until)} UTC, written {_moment(written_at)} UTC"


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"


def _number(value: int) -> str:
    return f"{value:,}"


def _figures(*pairs: tuple[str, str]) -> str:
    items = "".join(f"<div><dt>{escape(a)}</dt><dd>{escape(b)}</dd></div>" for a, b in pairs)
    return f"<dl>{items}</dl>"


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>"


def _table(title: str, heads: Sequence[str], rows: Rows) -> str:
    listed = [tuple(row) for row in rows]
    lines = ["<tr>" + "".join(_cell(value) for value in row) + "</tr>" for row in listed]
    if not lines:
        return _section(title, "<p>None in this time.</p>")
    names = "".join(
        f'<th scope="col"{_NUM if isinstance(first, int | Percent) else ""}>{escape(head)}</th>'
        for head, first in zip(heads, listed[0], strict=True)
    )
    body = "\n".join(lines)
    return _section(
        title,
        f'<div class="frame"><table><thead><tr>{names}</tr></thead>'
        f"<tbody>\n{body}\n</tbody></table></div>",
    )


def _cell(value: object) -> str:
    if isinstance(value, int):
        return f"<td{_NUM}>{value:,}</td>"
    if isinstance(value, Percent):
        return f"<td{_NUM}>{escape(value)}</td>"
    return f"<td>{escape(str(value))}</td>"


def _chart(figures: Operations) -> str:
    """Draw a bar for each day: what succeeded, and on top of it what failed."""
    by_day = figures.by_day()
    first, last = figures.since.date(), (figures.until - timedelta(microseconds=1)).date()
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    highest = max((counts.succeeded + counts.failed for counts in by_day.values()), default=0)
    top = highest or 1
    step = _WIDTH / len(days)
    bars = []
    for number, day in enumerate(days):
        counts = by_day.get(day, Counts())
        words = f"{day.isoformat()}: {counts.succeeded:,} succeeded, {counts.failed:,} failed"
        good, bad = ((_HEIGHT - 1) * share / top for share in (counts.succeeded, counts.failed))
        place = f'x="{number * step:.1f}" width="{max(1.0, step - _CHART_GAP):.1f}"'
        bars.append(
            f"<g><title>{escape(words)}</title>"
            f'<rect class="good" {place} y="{_HEIGHT - good:.1f}" height="{good:.1f}"/>'
            f'<rect class="bad" {place} y="{_HEIGHT - good - bad:.1f}" height="{bad:.1f}"/></g>'
        )
    total = figures.total()
    label = f"Attempts that succeeded: {total.succeeded:,}, that failed: {total.failed:,}"
    return (
        f'<svg viewBox="0 0 {_WIDTH:.0f} {_HEIGHT:.0f}" preserveAspectRatio="none" role="img" '
        f'aria-label="{label}"><line class="axis" x1="0" x2="{_WIDTH:.0f}" y1="{_HEIGHT:.0f}" '
        f'y2="{_HEIGHT:.0f}"/>{"".join(bars)}</svg>'
        f"<p>{label}; {first.isoformat()} to {last.isoformat()}, failed ones on top. "
        f"The highest bar is {highest:,}.</p>"
    )
