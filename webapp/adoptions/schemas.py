"""The shapes of what other systems write: as much of them as is read here."""

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from webapp.web.openapi import Answer, Query
from webapp.web.schemas import Text

MAX_FLAGS: Final = 5_000

Truth = Literal["true", "false"]


class _Read(BaseModel):
    """What others write; they write more than is read here."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, defer_build=True)


class UnleashConstraint(_Read):
    """A constraint of a strategy or a segment."""

    name: Annotated[Text, Field(alias="contextName")]
    operator: Text
    values: list[Text] | None = None
    value: Text | None = None
    inverted: bool | None = None
    case_insensitive: Annotated[bool | None, Field(alias="caseInsensitive")] = None


class UnleashPayload(_Read):
    """What a variant gives."""

    type: Text
    value: Text


class UnleashVariant(_Read):
    """A variant of a feature or a strategy."""

    name: Text
    weight: int
    payload: UnleashPayload | None = None
    stickiness: Text | None = None
    overrides: list[Any] | None = None


class UnleashStrategy(_Read):
    """A strategy; of which feature and environment, where it stands by itself."""

    name: Text
    title: Text | None = None
    parameters: dict[str, Any] | None = None
    constraints: list[UnleashConstraint] | None = None
    segments: list[int] | None = None
    variants: list[UnleashVariant] | None = None
    disabled: bool | None = None
    feature: Annotated[Text | None, Field(alias="featureName")] = None
    environment: Text | None = None


class UnleashDependency(_Read):
    """A parent that must be on, or off, or give certain variants."""

    feature: Text
    enabled: bool | None = None
    variants: list[Text] | None = None


class UnleashDependencies(_Read):
    """The parents of a feature."""

    feature: Text
    dependencies: list[UnleashDependency]


class UnleashFeature(_Read):
    """A feature; in what SDKs get, its strategies stand in it."""

    name: Text
    description: Text | None = None
    type: Text | None = None
    project: Text | None = None
    archived: bool | None = None
    enabled: bool | None = None
    strategies: list[UnleashStrategy] | None = None
    variants: list[UnleashVariant] | None = None
    dependencies: list[UnleashDependency] | None = None


class UnleashFeatureEnvironment(_Read):
    """How a feature stands in an environment."""

    feature: Annotated[Text, Field(alias="featureName")]
    environment: Text | None = None
    enabled: bool = False
    variants: list[UnleashVariant] | None = None


class UnleashSegment(_Read):
    """A segment; an export has its name only."""

    id: int
    name: Text | None = None
    constraints: list[UnleashConstraint] | None = None


class UnleashTag(_Read):
    """A tag of a feature."""

    feature: Annotated[Text, Field(alias="featureName")]
    value: Annotated[Text, Field(alias="tagValue")]


class UnleashExport(_Read):
    """An export of Unleash, or what its SDKs get (``GET /api/client/features``)."""

    features: Annotated[list[UnleashFeature], Field(max_length=MAX_FLAGS)]
    strategies: Annotated[list[UnleashStrategy] | None, Field(alias="featureStrategies")] = None
    environments: Annotated[
        list[UnleashFeatureEnvironment] | None, Field(alias="featureEnvironments")
    ] = None
    segments: list[UnleashSegment] | None = None
    tags: Annotated[list[UnleashTag] | None, Field(alias="featureTags")] = None
    dependencies: list[UnleashDependencies] | None = None


class FlagdFlag(_Read):
    """A flag of flagd."""

    state: Literal["ENABLED", "DISABLED"]
    variants: dict[Text, Any]
    default: Annotated[Text | None, Field(alias="defaultVariant")] = None
    targeting: Any = None
    metadata: dict[str, Any] | None = None


class FlagdFile(_Read):
    """A file of flags as flagd reads it."""

    flags: Annotated[dict[Text, FlagdFlag], Field(max_length=MAX_FLAGS)]
    evaluators: Annotated[dict[str, Any] | None, Field(alias="$evaluators")] = None


class AdoptionQuery(Query):
    """How flags of another system are taken over."""

    dry_run: Truth
    environment: str
    reason: str


class AdoptedResponse(Answer):
    """What became of one flag, and what of it does not come along."""

    outcome: str
    changes: dict[str, Any]
    errors: dict[str, list[str]]
    notes: list[str]


class AdoptionResponse(Answer):
    """What was taken over, or would be; ``left_out`` has the flags that were not, and why."""

    dry_run: bool
    counts: dict[str, int]
    flags: dict[str, AdoptedResponse]
    left_out: dict[str, list[str]]
