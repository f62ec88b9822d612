"""The shapes of the JSON API: what a body may hold, and how a flag is written."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Annotated, Any, Final, Literal

from pydantic import AwareDatetime, Field

from webapp.audit.values import Entry
from webapp.flags.explanation import Explanation
from webapp.flags.figures import Usage
from webapp.flags.models import FeatureFlag
from webapp.flags.service import draft_of
from webapp.flags.transfer import ImportedFlag, WantedFlag
from webapp.flags.values import Decision, FlagChanges, FlagDraft, Override
from webapp.web.schemas import Schema

MAX_BULK: Final = 1_000
MAX_IMPORT: Final = 5_000
FORMAT: Final = "switchyard.feature-flags/1"

Id = Annotated[str, Field(max_length=255)]


class _Settings(Schema):
    """The fields that make and change a flag alike."""

    description: str = ""
    enabled: bool = False
    percentage: float = 0.0
    whitelist: tuple[str, ...] = ()
    blacklist: tuple[str, ...] = ()
    environments: tuple[str, ...] = ()
    environment_overrides: dict[str, Override] = Field(default_factory=dict)
    starts_at: AwareDatetime | None = None
    expires_at: AwareDatetime | None = None
    stickiness: str = ""
    tags: tuple[str, ...] = ()
    metadata: dict[str, Any] = Field(default_factory=dict)

    def settings(self) -> dict[str, Any]:
        """Return the fields that the body gave, by name."""
        known = {item.name for item in fields(FlagChanges)}
        return {name: getattr(self, name) for name in known & self.model_fields_set}


class NewFlag(_Settings):
    """The body of ``POST /feature-flags``."""

    name: str
    reason: str = "Created over the API."

    def draft(self) -> FlagDraft:
        """Return the flag that is asked for."""
        return FlagDraft(name=self.name, **self.settings())


class FlagUpdate(_Settings):
    """The body of ``PUT /feature-flags/{name}``: the fields given change, the rest stays."""

    reason: str
    version: int | None = None

    def changes(self) -> FlagChanges:
        """Return the changes that are asked for."""
        return FlagChanges(**self.settings())


class Removal(Schema):
    """The body of ``DELETE /feature-flags/{name}``; a client that sends none asks by the query."""

    reason: str | None = None
    version: int | None = None


class FlagToImport(_Settings):
    """One flag of an import: the fields given change, the rest stays."""

    name: Id
    archived: bool | None = None

    def wanted(self) -> WantedFlag:
        """Return the flag as the import wants it."""
        changes = FlagChanges(**self.settings())
        return WantedFlag(name=self.name, changes=changes, archived=self.archived)


class FlagsToImport(Schema):
    """The body of an import: an export as it was written, and perhaps a reason.

    The flags are read one by one, so that what is wrong with one is told under its name.
    """

    format: Literal["switchyard.feature-flags/1"]
    flags: Annotated[list[Any], Field(max_length=MAX_IMPORT)]
    reason: str | None = None


class Question(Schema):
    """The body of an evaluation."""

    user_id: Id | None = None
    environment: Annotated[str, Field(max_length=64)] | None = None
    attributes: dict[str, Any] = Field(default_factory=dict)


class BulkQuestion(Question):
    """The body of an evaluation of several flags; without names, of all."""

    flag_names: Annotated[list[Id], Field(max_length=MAX_BULK)] | None = None


def decision_as_json(decision: Decision) -> dict[str, Any]:
    """Write an answer."""
    return {
        "enabled": decision.enabled,
        "reason": decision.reason,
        "variant": decision.variant,
    }


def explanation_as_json(name: str, explanation: Explanation) -> Mapping[str, Any]:
    """Write an answer with the steps that lead to it."""
    steps = [
        {"step": step.name, "outcome": step.outcome, "inputs": step.inputs}
        for step in explanation.steps
    ]
    answer = {"flag_name": name, **decision_as_json(explanation.decision)}
    return answer | {"decided_by": explanation.decided_by, "steps": steps}


def entry_as_json(entry: Entry) -> Mapping[str, Any]:
    """Write one entry of a flag's audit, its values in full."""
    return {
        "id": entry.id,
        "at": entry.at,
        "actor_kind": entry.actor_kind,
        "actor": entry.actor,
        "action": entry.action,
        "reason": entry.reason,
        "changes": {
            change.field: {"old": change.old, "new": change.new} for change in entry.changes
        },
        "request_id": entry.request_id,
    }


def export_as_json(flags: Sequence[tuple[FlagDraft, bool]]) -> Mapping[str, Any]:
    """Write every flag in the form that an import reads."""
    written = [
        {item.name: getattr(draft, item.name) for item in fields(draft)} | {"archived": archived}
        for draft, archived in flags
    ]
    return {"format": FORMAT, "flags": written}


def imported_as_json(flag: ImportedFlag) -> Mapping[str, Any]:
    """Write what became of a flag in an import."""
    changes = {
        field: {"old": change.old, "new": change.new} for field, change in flag.changes.items()
    }
    return {"outcome": flag.outcome, "changes": changes, "errors": flag.errors}


def flag_as_json(flag: FeatureFlag) -> Mapping[str, Any]:
    """Write a flag as the API answers it; times are RFC 3339."""
    draft = draft_of(flag)
    body: dict[str, Any] = {item.name: getattr(draft, item.name) for item in fields(draft)}
    return body | {
        "archived_at": flag.archived_at,
        "version": flag.version,
        "created_at": flag.created_at,
        "created_by": flag.created_by,
        "updated_at": flag.updated_at,
        "updated_by": flag.updated_by,
    }


def usage_as_json(name: str, usage: Usage) -> Mapping[str, Any]:
    """Write a flag's usage as the API answers it, each count with all that it is of."""
    return {
        "flag_name": name,
        "hours": usage.hours,
        "since": usage.since,
        "last_evaluated_at": usage.last_evaluated_at,
        "on": usage.on,
        "off": usage.off,
        "counts": [asdict(item) for item in usage.counts],
    }
