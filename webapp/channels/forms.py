"""The form of a channel: its fields as they were typed.

Works on plain texts, so that it knows neither Flask nor the database.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from webapp.channels.values import ChannelDraft
from webapp.errors import FieldErrors

# A version has no more digits.
_DIGITS = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelForm:
    """Every field as text; an address that stands is never filled in."""

    name: str = ""
    url: str = ""
    enabled: bool = True
    reason: str = ""
    version: str = ""
    errors: FieldErrors = field(default_factory=dict)

    @classmethod
    def read(cls, sent: Mapping[str, str]) -> "ChannelForm":
        """Take what a browser sent."""
        return cls(
            name=sent.get("name", "").strip(),
            url=sent.get("url", "").strip(),
            enabled=sent.get("enabled", "") == "1",
            reason=sent.get("reason", ""),
            version=sent.get("version", ""),
        )

    def draft(self) -> ChannelDraft:
        """Return the channel that was typed."""
        return ChannelDraft(name=self.name, url=self.url, enabled=self.enabled)

    def based_on(self) -> int | None:
        """Return the version that the form was made from, None where it says none."""
        text = self.version
        is_whole = text.isascii() and text.isdigit() and len(text) <= _DIGITS
        return int(text) if is_whole else None
