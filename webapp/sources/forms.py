"""The form of a source's rate limit: its numbers as they were typed, and as values again.

Works on plain texts, so that it knows neither Flask nor the database.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from webapp.errors import FieldErrors, Invalid

_WHOLE = re.compile(r"[0-9]{1,9}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitForm:
    """How often a source may be called, as texts; both empty mean the default of its kind."""

    calls: str = ""
    seconds: str = ""
    reason: str = ""
    errors: FieldErrors = field(default_factory=dict)

    @classmethod
    def read(cls, sent: Mapping[str, str]) -> "LimitForm":
        """Take what a browser sent."""
        calls, seconds, reason = (
            sent.get(name, "").strip() for name in ("calls", "seconds", "reason")
        )
        return cls(calls=calls, seconds=seconds, reason=reason)

    @classmethod
    def of(cls, calls: int | None, seconds: int | None) -> "LimitForm":
        """Write a source's own numbers into the fields."""
        return cls(
            calls="" if calls is None else str(calls),
            seconds="" if seconds is None else str(seconds),
        )

    def numbers(self) -> tuple[int | None, int | None]:
        """Return what was typed; :class:`Invalid` with all that is no whole number."""
        typed = {"calls": self.calls, "seconds": self.seconds}
        errors: dict[str, Sequence[str]] = {
            name: ["A whole number."]
            for name, text in typed.items()
            if text and not _WHOLE.match(text)
        }
        if errors:
            name, messages = next(iter(errors.items()))
            raise Invalid(f"{name}: {messages[0]}", errors)
        calls, seconds = (int(text) if text else None for text in typed.values())
        return calls, seconds
