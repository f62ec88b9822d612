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
from webapp.flags.rollout_forms import (
    GuardRow,
    StepRow,
    guard_rows,
    guards_in,
    read_guards,
    read_steps,
    step_rows,
    steps_in,
)
from webapp.flags.rows import Sent
from webapp.flags.rule_forms import (
    Messages,
    PrerequisiteRow,
    RuleRow,
    VariantRow,
    prerequisite_rows,
    prerequisites_in,
    read_prerequisites,
    read_rules,
    read_variants,
    rule_rows,
    rules_in,
    shares_of,
    variant_rows,
    variants_in,
)
from webapp.flags.typed import items_of, moment_typed, object_of, share_of, words_of
from webapp.flags.values import OPERATOR_FIELDS, FlagChanges, FlagDraft, Override
from webapp.flags.wording import override_text

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
    group: str = ""
    tags: str = ""
    metadata: str = ""
    reason: str = ""
    version: str = ""
    rules: tuple[RuleRow, ...] = ()
    variants: tuple[VariantRow, ...] = ()
    prerequisites: tuple[PrerequisiteRow, ...] = ()
    rollout_plan: tuple[StepRow, ...] = ()
    guards: tuple[GuardRow, ...] = ()
    errors: FieldErrors = field(default_factory=dict)

    @classmethod
    def read(cls, sent: Sent) -> "FlagForm":
        """Take what a browser sent, line ends made one kind."""
        names = {item.name for item in fields(cls)} - {"errors", *_ROWS}
        given = names & set(sent)
        typed: dict[str, Any] = {name: sent[name].replace("\r\n", "\n") for name in given}
        return cls(
            **typed,
            rules=rules_in(sent),
            variants=variants_in(sent),
            prerequisites=prerequisites_in(sent),
            rollout_plan=steps_in(sent),
            guards=guards_in(sent),
        )

    @property
    def shares(self) -> list[float | None]:
        """Return the share of each variant in percent, as far as its weight can be read."""
        return shares_of(self.variants)

    def draft(self) -> FlagDraft:
        """Return the flag that was typed; :class:`Invalid` with all that cannot be read."""
        return FlagDraft(name=self.name.strip(), **self._values(_READERS, _ROWS))

    def settings(self) -> FlagChanges:
        """Return all but name, switch and rollout as changes."""
        names = _READERS.keys() - OPERATOR_FIELDS
        return FlagChanges(**self._values({name: _READERS[name] for name in names}, _ROWS))

    def rollout(self) -> FlagChanges:
        """Return the percentage as a change."""
        return FlagChanges(**self._values({"percentage": share_of}, {}))

    def based_on(self) -> int | None:
        """Return the version that the form was made from."""
        return int(self.version) if re.fullmatch(r"[0-9]{1,9}", self.version) else None

    def _values(
        self,
        readers: "Mapping[str, Callable[[str], Any]]",
        row_readers: "Mapping[str, Callable[[Any], tuple[Any, Messages]]]",
    ) -> dict[str, Any]:
        values: dict[str, Any] = {}
        errors: Messages = {}
        for name, read in readers.items():
            try:
                values[name] = read(getattr(self, name))
            except ValueError as error:
                errors[name] = [str(error)]
        for name, read_rows in row_readers.items():
            values[name], complaints = read_rows(getattr(self, name))
            errors |= complaints
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
        group=draft.group or "",
        tags=" ".join(draft.tags),
        metadata=json.dumps(draft.metadata, indent=2, ensure_ascii=False) if draft.metadata else "",
        version=str(version),
        rules=rule_rows(draft.rules),
        variants=variant_rows(draft.variants),
        prerequisites=prerequisite_rows(draft.prerequisites),
        rollout_plan=step_rows(draft.rollout_plan),
        guards=guard_rows(draft.guards),
    )


def _lines(items: Iterable[str]) -> str:
    return "\n".join(items)


def _local(when: datetime | None) -> str:
    """Write a time as ``<input type="datetime-local">`` reads it."""
    return when.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="minutes") if when else ""


def _overrides(text: str) -> dict[str, Override]:
    overrides: dict[str, Override] = {}
    for line in items_of(text):
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
        return share_of(value)
    except ValueError:
        raise ValueError(f"{name}: on, off or a percentage, not {value!r}.") from None


_READERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "description": lambda text: text.strip(),
    "enabled": bool,
    "percentage": share_of,
    "whitelist": items_of,
    "blacklist": items_of,
    "environments": words_of,
    "environment_overrides": _overrides,
    "starts_at": moment_typed,
    "expires_at": moment_typed,
    "stickiness": lambda text: text.strip(),
    "group": lambda text: text.strip() or None,
    "tags": words_of,
    "metadata": object_of,
}
_ROWS: Final[Mapping[str, Callable[[Any], tuple[Any, Messages]]]] = {
    "rules": read_rules,
    "variants": read_variants,
    "prerequisites": read_prerequisites,
    "rollout_plan": read_steps,
    "guards": read_guards,
}
