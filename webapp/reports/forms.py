"""The form that asks for a report: its fields as they were typed, and as values.

Works on plain texts, so that it knows neither Flask nor the database.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from webapp.errors import FieldErrors, Invalid
from webapp.reports.values import DEFAULT_DAYS, MAX_DAYS, ReportDraft, ReportFormat, ReportKind

KINDS: Final = (
    (ReportKind.OPERATIONS, "Operations: jobs, dead letters, breakers, flags"),
    (ReportKind.SOURCE, "Source: its runs and records"),
)
FORMATS: Final = (
    (ReportFormat.HTML, "HTML, with charts"),
    (ReportFormat.CSV, "CSV, for spreadsheets"),
    (ReportFormat.JSON, "JSON, for programs"),
)
_DIGITS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportForm:
    """Every field as text."""

    kind: str = ReportKind.OPERATIONS
    format: str = ReportFormat.HTML
    days: str = str(DEFAULT_DAYS)
    source: str = ""
    channels: Sequence[str] = ()
    errors: FieldErrors = field(default_factory=dict)

    @classmethod
    def read(cls, sent: Mapping[str, str], channels: Sequence[str]) -> "ReportForm":
        """Take what a browser sent."""
        return cls(
            kind=sent.get("kind", ""),
            format=sent.get("format", ""),
            days=sent.get("days", "").strip(),
            source=sent.get("source", ""),
            channels=tuple(channels),
        )

    def draft(self) -> ReportDraft:
        """Return what was asked for; :class:`Invalid` where the days are no number."""
        if not (self.days.isascii() and self.days.isdigit() and len(self.days) <= _DIGITS):
            raise Invalid.field("days", f"A whole number from 1 to {MAX_DAYS}.")
        # The form has a place for a source whatever the kind is.
        source = self.source if self.kind == ReportKind.SOURCE else ""
        return ReportDraft(
            kind=self.kind,
            format=self.format,
            days=int(self.days),
            source=source,
            channels=self.channels,
        )
