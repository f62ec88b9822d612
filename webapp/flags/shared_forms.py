"""The forms of what flags share: a segment and a group as text fields, and as values again.

Works on plain mappings of text, as the form of a flag does.
"""

from dataclasses import dataclass, field
from typing import Any

from webapp.errors import FieldErrors, Invalid
from webapp.flags.rows import Sent
from webapp.flags.rule_forms import ConditionRow, condition_rows, conditions_in, read_conditions
from webapp.flags.values import GroupDraft, SegmentDraft

_FIELDS = ("name", "description", "reason", "version")


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupForm:
    """The fields of a group as text."""

    name: str = ""
    description: str = ""
    reason: str = ""
    version: str = ""
    errors: FieldErrors = field(default_factory=dict)

    @classmethod
    def read(cls, sent: Sent) -> "GroupForm":
        """Take what a browser sent."""
        return cls(**_typed(sent))

    @classmethod
    def of(cls, draft: GroupDraft, version: int) -> "GroupForm":
        """Write a group into the fields."""
        return cls(name=draft.name, description=draft.description, version=str(version))

    def draft(self) -> GroupDraft:
        """Return the group that was typed."""
        return GroupDraft(name=self.name.strip(), description=self.description.strip())


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentForm:
    """The fields of a segment as text, its conditions as rows."""

    name: str = ""
    description: str = ""
    reason: str = ""
    version: str = ""
    conditions: tuple[ConditionRow, ...] = ()
    errors: FieldErrors = field(default_factory=dict)

    @classmethod
    def read(cls, sent: Sent) -> "SegmentForm":
        """Take what a browser sent."""
        return cls(**_typed(sent), conditions=conditions_in(sent))

    @classmethod
    def of(cls, draft: SegmentDraft, version: int) -> "SegmentForm":
        """Write a segment into the fields."""
        return cls(
            name=draft.name,
            description=draft.description,
            version=str(version),
            conditions=condition_rows(draft.conditions),
        )

    def draft(self) -> SegmentDraft:
        """Return the segment that was typed; :class:`Invalid` with all that cannot be read."""
        conditions, errors = read_conditions(self.conditions)
        if errors:
            raise Invalid("conditions: cannot be read.", errors)
        return SegmentDraft(
            name=self.name.strip(), description=self.description.strip(), conditions=conditions
        )


def _typed(sent: Sent) -> dict[str, Any]:
    return {name: sent[name].replace("\r\n", "\n") for name in _FIELDS if name in sent}
