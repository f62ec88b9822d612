"""The rows of a flag's form: rules with their conditions, variants, prerequisites.

Works on plain mappings of text, as the form does.  What was typed is kept as it was typed; a row
in which nothing was typed is no row.  Messages stand at the field or the row that they are about,
under its path: ``rules-0-percentage``, ``variants-1``.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from webapp.flags.rows import Sent, rows_of
from webapp.flags.typed import items_of, json_of, share_of, weight_of, words_of
from webapp.flags.values import Condition, Operator, Prerequisite, Rule, Variant

Messages = dict[str, list[str]]
Read = TypeVar("Read")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionRow:
    """A condition as text fields; values have one a line."""

    attribute: str = ""
    operator: str = Operator.IN.value
    values: str = ""
    negate: str = ""

    @property
    def is_blank(self) -> bool:
        """Tell whether nothing was typed."""
        return not (self.attribute.strip() or self.values.strip())


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleRow:
    """A rule as text fields; segments are words."""

    name: str = ""
    percentage: str = ""
    segments: str = ""
    conditions: tuple[ConditionRow, ...] = ()

    @property
    def is_blank(self) -> bool:
        """Tell whether nothing was typed."""
        typed = self.name.strip() or self.percentage.strip() or self.segments.strip()
        return not typed and all(item.is_blank for item in self.conditions)

    @property
    def chosen(self) -> tuple[str, ...]:
        """Return the names of the segments."""
        return words_of(self.segments)


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantRow:
    """A variant as text fields; its value is JSON."""

    name: str = ""
    weight: str = ""
    value: str = ""

    @property
    def is_blank(self) -> bool:
        """Tell whether nothing was typed."""
        return not (self.name.strip() or self.weight.strip() or self.value.strip())


@dataclass(frozen=True, slots=True, kw_only=True)
class PrerequisiteRow:
    """A prerequisite as text fields."""

    flag: str = ""
    enabled: str = "on"

    @property
    def is_blank(self) -> bool:
        """Tell whether nothing was typed."""
        return not self.flag.strip()


@dataclass(slots=True)
class RowReader:
    """Reads fields one after the other, and collects what is wrong with each under its path."""

    errors: Messages = field(default_factory=dict)

    def read(self, path: str, text: str, reader: Callable[[str], Read], default: Read) -> Read:
        """Return what was typed, or the default and a message at its path."""
        try:
            return reader(text)
        except ValueError as error:
            self.errors[path] = [str(error)]
            return default


def conditions_in(sent: Sent) -> tuple[ConditionRow, ...]:
    """Return the rows of conditions that a form was sent with."""
    names = ("attribute", "operator", "values", "negate")
    return tuple(ConditionRow(**given_in(row, names)) for row in rows_of(sent, "conditions"))


def rules_in(sent: Sent) -> tuple[RuleRow, ...]:
    """Return the rows of rules that a form was sent with."""
    names = ("name", "percentage", "segments")
    return tuple(
        RuleRow(**given_in(row, names), conditions=conditions_in(row))
        for row in rows_of(sent, "rules")
    )


def variants_in(sent: Sent) -> tuple[VariantRow, ...]:
    """Return the rows of variants that a form was sent with."""
    names = ("name", "weight", "value")
    return tuple(VariantRow(**given_in(row, names)) for row in rows_of(sent, "variants"))


def prerequisites_in(sent: Sent) -> tuple[PrerequisiteRow, ...]:
    """Return the rows of prerequisites that a form was sent with."""
    names = ("flag", "enabled")
    return tuple(PrerequisiteRow(**given_in(row, names)) for row in rows_of(sent, "prerequisites"))


def given_in(row: Sent, names: Sequence[str]) -> dict[str, Any]:
    """Return the fields of a row by name, line ends made one kind."""
    return {name: row[name].replace("\r\n", "\n") for name in names if name in row}


def read_conditions(
    rows: Sequence[ConditionRow], path: str = "conditions"
) -> tuple[tuple[Condition, ...], Messages]:
    """Return the conditions that were typed, and what cannot be read of them."""
    reader = RowReader()
    found = [
        Condition(
            attribute=row.attribute.strip(),
            operator=reader.read(f"{path}-{at}-operator", row.operator, _operator, Operator.IN),
            values=items_of(row.values),
            negate=bool(row.negate),
        )
        for at, row in enumerate(rows)
        if not row.is_blank
    ]
    return tuple(found), reader.errors


def read_rules(rows: Sequence[RuleRow]) -> tuple[tuple[Rule, ...], Messages]:
    """Return the rules that were typed, and what cannot be read of them."""
    reader, found = RowReader(), []
    for at, row in enumerate(rows):
        if row.is_blank:
            continue
        conditions, errors = read_conditions(row.conditions, f"rules-{at}-conditions")
        reader.errors |= errors
        rule = Rule(
            name=row.name.strip(),
            conditions=conditions,
            segments=row.chosen,
            percentage=reader.read(f"rules-{at}-percentage", row.percentage, share_of, 0.0),
        )
        found.append(rule)
    return tuple(found), reader.errors


def read_variants(rows: Sequence[VariantRow]) -> tuple[tuple[Variant, ...], Messages]:
    """Return the variants that were typed, and what cannot be read of them."""
    reader = RowReader()
    found = [
        Variant(
            name=row.name.strip(),
            weight=reader.read(f"variants-{at}-weight", row.weight, weight_of, 0),
            value=reader.read(f"variants-{at}-value", row.value, json_of, None),
        )
        for at, row in enumerate(rows)
        if not row.is_blank
    ]
    return tuple(found), reader.errors


def read_prerequisites(
    rows: Sequence[PrerequisiteRow],
) -> tuple[tuple[Prerequisite, ...], Messages]:
    """Return the prerequisites that were typed; each can be read."""
    found = [
        Prerequisite(flag=row.flag.strip(), enabled=row.enabled != "off")
        for row in rows
        if not row.is_blank
    ]
    return tuple(found), {}


def _operator(text: str) -> Operator:
    if text not in set(Operator):
        raise ValueError(f"There is no comparison {text!r}.")
    return Operator(text)


def condition_rows(conditions: Sequence[Condition]) -> tuple[ConditionRow, ...]:
    """Write conditions into rows."""
    return tuple(
        ConditionRow(
            attribute=item.attribute,
            operator=item.operator.value,
            values="\n".join(item.values),
            negate="1" if item.negate else "",
        )
        for item in conditions
    )


def rule_rows(rules: Sequence[Rule]) -> tuple[RuleRow, ...]:
    """Write rules into rows."""
    return tuple(
        RuleRow(
            name=item.name,
            percentage=f"{item.percentage:g}",
            segments=" ".join(item.segments),
            conditions=condition_rows(item.conditions),
        )
        for item in rules
    )


def variant_rows(variants: Sequence[Variant]) -> tuple[VariantRow, ...]:
    """Write variants into rows; no value is an empty field."""
    return tuple(
        VariantRow(
            name=item.name,
            weight=str(item.weight),
            value="" if item.value is None else json.dumps(item.value, ensure_ascii=False),
        )
        for item in variants
    )


def prerequisite_rows(prerequisites: Sequence[Prerequisite]) -> tuple[PrerequisiteRow, ...]:
    """Write prerequisites into rows."""
    return tuple(
        PrerequisiteRow(flag=item.flag, enabled="on" if item.enabled else "off")
        for item in prerequisites
    )


def shares_of(rows: Sequence[VariantRow]) -> list[float | None]:
    """Return the share of each variant in percent, None where there is no weight to tell."""
    weights = [
        int(row.weight) if re.fullmatch(r"\s*[0-9]{1,9}\s*", row.weight) else None for row in rows
    ]
    total = sum(weight or 0 for weight in weights)
    return [100 * weight / total if weight is not None and total else None for weight in weights]
