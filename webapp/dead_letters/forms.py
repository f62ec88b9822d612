"""The forms of the pages of dead letters: text fields, and the fields as values.

Works on plain mappings of text, so that it knows neither Flask nor the database.  What was typed is
kept as it was typed, whether or not it can be read.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Self

from pydantic_core import from_json

from webapp.dead_letters.values import AGES, BulkAction, BulkOrder, LetterFilters, Status
from webapp.errors import FieldErrors, Invalid

_MAX_JOB_DIGITS = 18


def read_filters(sent: Mapping[str, str], text: str) -> LetterFilters:
    """Take what an address narrows a list to; a word that means nothing narrows nothing."""
    filters = _filters(sent, text)
    older, newer = (age if age in AGES else "" for age in (filters.older, filters.newer))
    return replace(filters, older=older, newer=newer)


def _filters(sent: Mapping[str, str], text: str) -> LetterFilters:
    status = sent.get("status", "")
    return LetterFilters(
        status=status if status in set(Status) else Status.OPEN,
        type=sent.get("type", ""),
        exception=sent.get("exception", ""),
        fingerprint=sent.get("fingerprint", ""),
        text=text,
        older=sent.get("older", ""),
        newer=sent.get("newer", ""),
    )


def read_object(text: str) -> dict[str, Any]:
    """Read arguments as they were typed; whole numbers stay exact, however long."""
    try:
        value = from_json(text.strip() or "{}", allow_inf_nan=False)
    except ValueError as error:
        raise Invalid.field("arguments", f"Is not JSON: {error}.") from None
    if not isinstance(value, dict):
        raise Invalid.field("arguments", 'Must be a JSON object, such as {"source": "airports"}.')
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkForm:
    """What is asked before many letters are acted on, as text.

    ``at`` is when the letters were counted, as ISO time; ``jobs`` are those that were ticked.
    """

    action: BulkAction
    filters: LetterFilters
    jobs: tuple[int, ...] | None
    at: str
    per_minute: str = ""
    breaker: str = ""
    why: str = ""
    errors: FieldErrors = field(default_factory=dict)

    @classmethod
    def read(cls, sent: Mapping[str, str], jobs: list[str], *, text: str, now: datetime) -> Self:
        """Take what a browser sent; :class:`Invalid` where no action is named."""
        if sent.get("action") not in set(BulkAction):
            raise Invalid.field("action", f"One of {', '.join(BulkAction)}.")
        ticked = sent.get("of") == "ticked"
        return cls(
            action=BulkAction(sent["action"]),
            # Whatever list it comes from, only open letters are acted on; and an age that means
            # nothing is refused, since to leave it out would mean more letters.
            filters=replace(_filters(sent, text), status=Status.OPEN),
            jobs=tuple(sorted({int(job) for job in jobs if _is_id(job)})) if ticked else None,
            at=sent.get("at") or now.isoformat(),
            per_minute=sent.get("per_minute", ""),
            breaker=sent.get("breaker", ""),
            why=sent.get("why", "").replace("\r\n", "\n"),
        )

    def order(self) -> BulkOrder:
        """Return what is to be done; :class:`Invalid` names the field that cannot be read."""
        return BulkOrder(
            action=self.action,
            at=_moment(self.at),
            filters=self.filters,
            job_ids=self.jobs,
            why=self.why,
            per_minute=_pace(self.per_minute),
            breaker=self.breaker or None,
        )


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= _MAX_JOB_DIGITS


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Invalid.field("at", "Is no time.") from None


def _pace(text: str) -> float | None:
    if not text.strip():
        return None
    try:
        pace = float(text.strip().replace(",", ""))
    except ValueError:
        pace = math.nan
    if not math.isfinite(pace):
        raise Invalid.field("per_minute", "A number of letters, or nothing for all at once.")
    return pace
