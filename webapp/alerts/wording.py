"""What people are told of alerts: one message for each channel and moment.  Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from webapp.alerts.values import METRICS, Direction, Metric, Severity, Telling, Unit
from webapp.channels.values import MAX_BODY, MAX_TITLE, Message, MessageKind

_KINDS: Final = {
    Severity.INFO: MessageKind.INFO,
    Severity.WARNING: MessageKind.WARNING,
    Severity.ERROR: MessageKind.ERROR,
    Severity.CRITICAL: MessageKind.ERROR,
}
_HEADS: Final = {
    Telling.FIRED: "[{severity}] {title}",
    Telling.ROSE: "[{severity}, was {before}] {title}",
    Telling.STILL: "[{severity}, still] {title}",
    Telling.RESOLVED: "[over] {title}",
}
_MINUTE: Final = 60
_LONG: Final = 180


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One thing that people are told of one alert.

    ``before`` is the severity that they were told last, ``link`` the address of the alert.
    """

    key: str
    title: str
    telling: Telling
    metric: Metric
    severity: Severity
    before: Severity | None
    rule: str
    value: float | None
    comparison: Direction
    threshold: float
    sample: int | None
    since: datetime
    link: str


def message_of(notice: Notice) -> Message:
    """Return what is said of one alert alone."""
    return Message(
        title=_cut(_head(notice), MAX_TITLE),
        body=_cut("\n".join((*_facts(notice), f"Key: {notice.key}")), MAX_BODY),
        kind=_kind([notice]),
        link=notice.link,
        key=notice.key,
    )


def digest_of(notices: Sequence[Notice], *, link: str) -> Message:
    """Return what is said of several at once, the worst first; ``link`` leads to all of them."""
    if len(notices) == 1:
        return message_of(notices[0])
    ordered = sorted(notices, key=lambda item: (_over(item), -item.severity.rank, item.key))
    over = sum(_over(item) for item in ordered)
    parts = [f"{len(ordered) - over} firing" if over < len(ordered) else "", f"{over} over"]
    told = ", ".join(part for part in parts if part and part != "0 over")
    return Message(
        title=f"{len(ordered)} alerts: {told}",
        body=_body(ordered),
        kind=_kind(ordered),
        link=link,
    )


def _body(notices: Sequence[Notice]) -> str:
    """Write as many of them as a message has room for, and say how many more there are."""
    texts = ["\n".join((_head(item), *_facts(item), f"Key: {item.key}")) for item in notices]
    room = MAX_BODY - len(f"\n\nAnd {len(texts)} more.")
    shown: list[str] = []
    for text in texts:
        room -= len(text) + 2
        if room < 0:
            break
        shown.append(text)
    left = len(texts) - len(shown)
    return "\n\n".join([*shown, *([f"And {left} more."] if left else [])])


def _head(notice: Notice) -> str:
    before = notice.before.value if notice.before else "unknown"
    head = _HEADS[notice.telling]
    return head.format(severity=notice.severity.value, before=before, title=_line(notice.title))


def _facts(notice: Notice) -> tuple[str, ...]:
    unit = METRICS[notice.metric].unit
    sample = f" of {notice.sample:,}" if notice.sample is not None else ""
    value = "No value" if notice.value is None else figure(unit, notice.value) + sample
    limit = figure(unit, notice.threshold)
    return (
        f"{value}; the rule {notice.rule} holds {notice.comparison.value} {limit}.",
        f"Since {notice.since:%Y-%m-%d %H:%M} UTC.",
    )


def figure(unit: Unit, value: float) -> str:
    """Write a number with its unit: ``62.5 %``, ``20 min``, ``1,204``."""
    if unit == Unit.SECONDS and value >= _LONG:
        return f"{_number(value / _MINUTE)} min"
    return _number(value) + {Unit.PERCENT: " %", Unit.SECONDS: " s", Unit.COUNT: ""}[unit]


def _number(value: float) -> str:
    return f"{value:,.1f}".removesuffix(".0")


def _kind(notices: Sequence[Notice]) -> MessageKind:
    firing = [item.severity for item in notices if not _over(item)]
    if not firing:
        return MessageKind.SUCCESS
    return _KINDS[max(firing, key=lambda severity: severity.rank)]


def _over(notice: Notice) -> bool:
    return notice.telling == Telling.RESOLVED


def _line(text: str) -> str:
    """Return a text as one line: labels are names that others chose."""
    return "".join(character if character.isprintable() else " " for character in text)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
