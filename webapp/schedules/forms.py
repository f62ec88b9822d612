"""The form of the schedule pages: a schedule as text fields, and the fields as values again.

Works on plain mappings of text, so that it knows neither Flask nor the database.  What was typed is
kept as it was typed, whether or not it can be read.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final

from webapp.errors import FieldErrors, Invalid
from webapp.schedules.timing import DAYS, LAST_DAY, check_cron, check_zone, daily, monthly, weekly
from webapp.schedules.values import CatchUp, Overlap, ScheduleDraft

KINDS: Final = (
    ("daily", "Every day"),
    ("weekly", "Every week"),
    ("monthly", "Every month"),
    ("cron", "By cron"),
)
OVERLAPS: Final = (
    (Overlap.SKIP, "Skip this time"),
    (Overlap.QUEUE, "Queue another job"),
)
CATCH_UPS: Final = (
    (CatchUp.ONE, "Run once for all that passed"),
    (CatchUp.NONE, "Wait for the next time"),
)
_SIMPLE: Final = re.compile(r"([0-5]?\d) ([01]?\d|2[0-3]) (\*|L|[1-9]|[12]\d|3[01]) \* (\S+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleForm:
    """Every field of a schedule as text; ``kind`` says which of the fields tell when it is due."""

    name: str = ""
    type: str = ""
    arguments: str = "{}"
    kind: str = "daily"
    at: str = "06:00"
    days: Sequence[str] = ("mon",)
    day: str = "1"
    cron: str = ""
    timezone: str = "UTC"
    overlap: str = Overlap.SKIP
    catch_up: str = CatchUp.ONE
    priority: str = ""
    reason: str = ""
    version: str = ""
    errors: FieldErrors = field(default_factory=dict)

    @classmethod
    def read(cls, sent: Mapping[str, str], days: Sequence[str]) -> "ScheduleForm":
        """Take what a browser sent, line ends made one kind."""
        names = {item.name for item in fields(cls)} - {"errors", "days"}
        typed: dict[str, Any] = {
            name: sent[name].replace("\r\n", "\n") for name in names & set(sent)
        }
        return cls(days=tuple(days), **typed)

    def draft(self) -> ScheduleDraft:
        """Return the schedule that was typed; :class:`Invalid` with all that cannot be read."""
        values, errors = _read_all(
            {
                "arguments": lambda: _object(self.arguments),
                "cron": self.expression,
                "priority": lambda: _priority(self.priority),
            }
        )
        if errors:
            raise _refusal(errors)
        return ScheduleDraft(
            name=self.name.strip(),
            type=self.type,
            timezone=self.timezone.strip(),
            overlap=self.overlap,
            catch_up=self.catch_up,
            **values,
        )

    def timing(self) -> tuple[str, str]:
        """Return cron and time zone; :class:`Invalid` with what is wrong with them."""
        values, errors = _read_all(
            {
                "cron": lambda: check_cron(self.expression()),
                "timezone": lambda: check_zone(self.timezone.strip()),
            }
        )
        if errors:
            raise _refusal(errors)
        return values["cron"], values["timezone"]

    def expression(self) -> str:
        """Return the cron that the chosen fields mean."""
        if self.kind == "daily":
            return daily(self.at)
        if self.kind == "weekly":
            return weekly(self.days, self.at)
        if self.kind == "monthly":
            return monthly(self.day, self.at)
        return self.cron.strip()

    def based_on(self) -> int | None:
        """Return the version that the form was made from."""
        return int(self.version) if re.fullmatch(r"[0-9]{1,9}", self.version) else None


def form_of(draft: ScheduleDraft, version: int) -> ScheduleForm:
    """Write a schedule into the fields of its form, in the simplest way that says when."""
    return ScheduleForm(
        name=draft.name,
        type=draft.type,
        arguments=json.dumps(draft.arguments, indent=2, ensure_ascii=False),
        cron=draft.cron,
        timezone=draft.timezone,
        overlap=draft.overlap,
        catch_up=draft.catch_up,
        priority="" if draft.priority is None else str(draft.priority),
        version=str(version),
        **_simplest(draft.cron),
    )


def _simplest(cron: str) -> dict[str, Any]:
    found = _SIMPLE.fullmatch(cron)
    if not found:
        return {"kind": "cron"}
    minute, hour, day, week = found.groups()
    at = {"at": f"{int(hour):02}:{int(minute):02}"}
    days = week.lower().split(",")
    if day == "*" and week == "*":
        return at | {"kind": "daily"}
    if day == "*" and set(days) <= set(DAYS):
        return at | {"kind": "weekly", "days": tuple(days)}
    if week == "*":
        return at | {"kind": "monthly", "day": LAST_DAY if day == "L" else day}
    return {"kind": "cron"}


def _read_all(
    readers: Mapping[str, Callable[[], Any]],
) -> tuple[dict[str, Any], dict[str, Sequence[str]]]:
    values: dict[str, Any] = {}
    errors: dict[str, Sequence[str]] = {}
    for name, read in readers.items():
        try:
            values[name] = read()
        except Invalid as error:
            errors.update(error.errors)
    return values, errors


def _refusal(errors: Mapping[str, Sequence[str]]) -> Invalid:
    name, messages = next(iter(errors.items()))
    return Invalid(f"{name}: {messages[0]}", errors)


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text.strip() or "{}")
    except (ValueError, RecursionError) as error:
        raise Invalid.field("arguments", f"Is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise Invalid.field("arguments", 'Must be a JSON object, such as {"source": "airports"}.')
    return value


def _priority(text: str) -> int | None:
    if not text.strip():
        return None
    if not re.fullmatch(r"[0-9]{1,3}", text.strip()):
        raise Invalid.field("priority", "A whole number from 0 to 100.")
    return int(text)
