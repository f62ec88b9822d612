"""The forms of a source and of its rate limit: what was typed, and the same as values again.

Works on plain texts, so that it knows neither Flask nor the database.  What was typed is kept as it
was typed, whether or not it can be read.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final

from webapp.errors import FieldErrors, Invalid
from webapp.sources.values import Options, Pagination, SourceDraft, SourceKind

KINDS: Final = (
    (SourceKind.CSV, "CSV, a file or an address"),
    (SourceKind.API, "API, JSON over HTTP"),
    (SourceKind.RSS, "Feed, RSS or Atom"),
)
PAGINATIONS: Final = (
    (Pagination.NONE, "No pages: one answer holds all"),
    (Pagination.PAGE, "Numbered pages"),
    (Pagination.CURSOR, "A cursor in the answer"),
    (Pagination.LINK, "An address in the answer or its Link header"),
)
_WHOLE = re.compile(r"[0-9]{1,9}\Z")
_NUMBERS = ("first_page", "page_size", "max_pages")


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


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceForm:
    """Every field of a source as text; ``mapping`` has a line ``new = old`` for each field."""

    name: str = ""
    kind: str = SourceKind.CSV
    location: str = ""
    key_field: str = ""
    mapping: str = ""
    auth_env: str = ""
    auth_header: str = "Authorization"
    items: str = ""
    pagination: str = Pagination.NONE
    page_param: str = "page"
    first_page: str = "1"
    size_param: str = ""
    page_size: str = "100"
    cursor_param: str = "cursor"
    cursor_path: str = ""
    max_pages: str = "10000"
    reason: str = ""
    version: str = ""
    errors: FieldErrors = field(default_factory=dict)

    @classmethod
    def read(cls, sent: Mapping[str, str]) -> "SourceForm":
        """Take what a browser sent."""
        names = {item.name for item in fields(cls)} - {"errors"}
        typed: dict[str, Any] = {name: sent[name].strip() for name in names & set(sent)}
        return cls(**typed)

    @classmethod
    def of(cls, name: str, draft: SourceDraft, version: int) -> "SourceForm":
        """Write a source into the fields of its form."""
        texts: dict[str, Any] = {
            item.name: str(getattr(draft.options, item.name)) for item in fields(Options)
        }
        return cls(
            name=name,
            kind=draft.kind,
            location=draft.location,
            key_field=draft.key_field,
            mapping="\n".join(f"{new} = {old}" for new, old in draft.mapping.items()),
            version=str(version),
            **texts,
        )

    def draft(self) -> SourceDraft:
        """Return the source that was typed; :class:`Invalid` with all that cannot be read."""
        errors: dict[str, Sequence[str]] = {
            name: ["A whole number."] for name in _NUMBERS if not _WHOLE.match(getattr(self, name))
        }
        mapping: dict[str, str] = {}
        try:
            mapping = _mapping(self.mapping)
        except Invalid as error:
            errors |= error.errors
        if errors:
            name, messages = next(iter(errors.items()))
            raise Invalid(f"{name}: {messages[0]}", errors)
        texts = {item.name: getattr(self, item.name) for item in fields(Options)}
        numbers = {name: int(texts[name]) for name in _NUMBERS}
        return SourceDraft(
            kind=self.kind,
            location=self.location,
            key_field=self.key_field,
            options=Options(**(texts | numbers)),
            mapping=mapping,
        )

    def based_on(self) -> int | None:
        """Return the version that the form was made from."""
        return int(self.version) if _WHOLE.match(self.version) else None


def _mapping(text: str) -> dict[str, str]:
    """Read lines of ``new = old``; blank ones are none."""
    found: dict[str, str] = {}
    for line in filter(None, (line.strip() for line in text.splitlines())):
        new, sign, old = (part.strip() for part in line.partition("="))
        if not (new and sign and old):
            raise Invalid.field("mapping", f"Write each line as new = old, not {line[:80]!r}.")
        if new in found:
            raise Invalid.field("mapping", f"{new[:80]!r} stands twice.")
        found[new] = old
    return found
