"""The shapes of the JSON API: what a body may hold, and how a flag is written."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Annotated, Any

from pydantic import AwareDatetime, Field

from webapp.flags.figures import Usage
from webapp.flags.models import FeatureFlag
from webapp.flags.service import draft_of
from webapp.flags.values import FlagChanges, FlagDraft, Override
from webapp.web.schemas import Schema

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


class Question(Schema):
    """The body of an evaluation."""

    user_id: Id | None = None
    environment: Annotated[str, Field(max_length=64)] | None = None
    attributes: dict[str, Any] = Field(default_factory=dict)


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
