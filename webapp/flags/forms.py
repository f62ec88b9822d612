"""The forms of the flag pages: a flag as text fields, and the fields as values again.

Works on plain mappings of text, so that it knows neither Flask nor the database.  What was typed
is kept as it was typed, whether or not it can be read.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, Final

from webapp.errors import FieldErrors, Invalid
from webapp.flags.values import OPERATOR_FIELDS, FlagChanges, FlagDraft, Override

_SWITCHES: Final = {"on": True, "off": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagForm:
    """Every field of a flag as text; lists have one item a line, times are UTC."""

    name: str = ""
    description: str = ""
    enabled: str = ""
    percentage: str = "0"
    whitelist: str = ""
    blacklist: str = ""
    environments: str = ""
    environment_overrides: str = ""
    starts_at: str = ""
    expires_at: str = ""
    stickiness: str = ""
    tags: str = ""
    metadata: str = ""
    reason: str = ""
    version: str = ""
    errors: FieldErrors = field(default_factory=dict)

    @classmethod
    def read(cls, sent: Mapping[str, str]) -> "FlagForm":
        """Take what a browser sent, line ends made one kind."""
        names = {item.name for item in fields(cls)} - {"errors"}
        given = names & set(sent)
        typed: dict[str, Any] = {name: sent[name].replace("\r\n", "\n") for name in given}
        return cls(**typed)

    def draft(self) -> FlagDraft:
        """Return the flag that was typed; :class:`Invalid` with all that cannot be read."""
        return FlagDraft(name=self.name.strip(), **self._values(_READERS))

    def settings(self) -> FlagChanges:
        """Return all but name, switch and rollout as changes."""
        names = _READERS.keys() - OPERATOR_FIELDS
        return FlagChanges(**self._values({name: _READERS[name] for name in names}))

    def rollout(self) -> FlagChanges:
        """Return the percentage as a change."""
        return FlagChanges(**self._values({"percentage": _number}))

    def based_on(self) -> int | None:
        """Return the version that the form was made from."""
        return int(self.version) if re.fullmatch(r"[0-9]{1,9}", self.version) else None

    def _values(self, readers: "Mapping[str, Callable[[str], Any]]") -> dict[str, Any]:
        values: dict[str, Any] = {}
        errors: dict[str, list[str]] = {}
        for name, read in readers.items():
            try:
                values[name] = read(getattr(self, name))
            except ValueError as error:
                errors[name] = [str(error)]
        if errors:
            name, messages = next(iter(errors.items()))
            raise Invalid(f"{name}: {messages[0]}", errors)
        return values


def form_of(draft: FlagDraft, version: int) -> FlagForm:
    """Write a flag into the fields of its form."""
    return FlagForm(
        name=draft.name,
        description=draft.description,
        enabled="1" if draft.enabled else "",
        percentage=f"{draft.percentage:g}",
        whitelist=_lines(draft.whitelist),
        blacklist=_lines(draft.blacklist),
        environments=" ".join(draft.environments),
        environment_overrides=_lines(
            f"{name} = {override_text(value)}"
            for name, value in draft.environment_overrides.items()
        ),
        starts_at=_local(draft.starts_at),
        expires_at=_local(draft.expires_at),
        stickiness="" if draft.stickiness == draft.name else draft.stickiness,
        tags=" ".join(draft.tags),
        metadata=json.dumps(draft.metadata, indent=2, ensure_ascii=False) if draft.metadata else "",
        version=str(version),
    )


def override_text(value: Override) -> str:
    """Write an override as it is typed: on, off or a percentage."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g} %"


def _lines(items: Iterable[str]) -> str:
    return "\n".join(items)


def _local(when: datetime | None) -> str:
    """Write a time as ``<input type="datetime-local">`` reads it."""
    return when.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="minutes") if when else ""


def _items(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.split("\n") if line.strip())


def _words(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"[^\s,]+", text))


def _number(text: str) -> float:
    try:
        return float(text.strip().removesuffix("%"))
    except ValueError:
        raise ValueError("Must be a number from 0 to 100.") from None


def _moment(text: str) -> datetime | None:
    if not text.strip():
        return None
    try:
        when = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError("Must be a date and a time, such as 2026-11-22T09:30.") from None
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when


def _overrides(text: str) -> dict[str, Override]:
    overrides: dict[str, Override] = {}
    for line in _items(text):
        name, sign, value = (part.strip() for part in line.partition("="))
        if not sign or not value:
            raise ValueError(f"Write 'staging = on' or 'staging = 25 %', not {line!r}.")
        if name in overrides:
            raise ValueError(f"Given twice: {name}.")
        overrides[name] = _override(name, value)
    return overrides


def _override(name: str, value: str) -> Override:
    if value.lower() in _SWITCHES:
        return _SWITCHES[value.lower()]
    try:
        return _number(value)
    except ValueError:
        raise ValueError(f"{name}: on, off or a percentage, not {value!r}.") from None


def _object(text: str) -> dict[str, Any]:
    if not text.strip():
        return {}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"Is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError('Must be a JSON object, such as {"owner": "growth"}.')  # noqa: TRY004
    return value


_READERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "description": lambda text: text.strip(),
    "enabled": bool,
    "percentage": _number,
    "whitelist": _items,
    "blacklist": _items,
    "environments": _words,
    "environment_overrides": _overrides,
    "starts_at": _moment,
    "expires_at": _moment,
    "stickiness": lambda text: text.strip(),
    "tags": _words,
    "metadata": _object,
}
