"""The vocabulary of flags: what one holds, what a caller asks, what the answer says, the limits.

Plain values only.  Nothing here touches the database, the clock or Flask.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import Enum, StrEnum
from itertools import repeat
from types import MappingProxyType
from typing import Any, Final, NamedTuple

MAX_IDS: Final = 10_000
MAX_ID: Final = 255
MAX_NAME: Final = 255
MAX_DESCRIPTION: Final = 2_000
MAX_ENVIRONMENTS: Final = 50
MAX_TAGS: Final = 20
MAX_WORD: Final = 64
MAX_METADATA: Final = 16_384
MAX_METADATA_LEVELS: Final = 20
MAX_RULES: Final = 50
MAX_CONDITIONS: Final = 20
MAX_SEGMENTS: Final = 20
MAX_VALUES: Final = 1_000
MAX_VALUE: Final = 255
MAX_VARIANTS: Final = 50
MAX_WEIGHT: Final = 100_000
MAX_PREREQUISITES: Final = 20
# So many flags are decided for one at the most, itself and all that it builds on.
MAX_DECIDED: Final = 100
MAX_STEPS: Final = 20
MAX_GUARDS: Final = 20
MAX_SCOPE: Final = 200
# Figures of jobs are kept by the minute for a little more than a day.
LEAST_WINDOW: Final = 60
MAX_WINDOW: Final = 86_400
MAX_THRESHOLD: Final = 1_000_000
MAX_SAMPLE: Final = 1_000_000

# Addresses have these in the place of a flag's name.
RESERVED_NAMES: Final = frozenset(
    {"export", "groups", "import", "metrics", "new", "segments", "snapshot"}
)

# What an operator may change; everything else about a flag is an admin's.
OPERATOR_FIELDS: Final = frozenset({"enabled", "percentage"})

_MOST_BITS: Final = 10_000

NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class Reason(StrEnum):
    """Why a flag answered as it did."""

    NOT_FOUND = "not_found"
    DISABLED = "disabled"
    NOT_STARTED = "not_started"
    EXPIRED = "expired"
    PREREQUISITE = "prerequisite"
    BLACKLIST = "blacklist"
    ENVIRONMENT_OVERRIDE = "environment_override"
    ENVIRONMENT = "environment"
    WHITELIST = "whitelist"
    RULE = "rule"
    EVERYONE = "everyone"
    NOBODY = "nobody"
    NO_SUBJECT = "no_subject"
    PERCENTAGE = "percentage"


class Operator(StrEnum):
    """How a condition compares an attribute with its values."""

    IN = "in"
    NOT_IN = "not_in"
    EQUALS = "equals"
    CONTAINS = "contains"
    STARTS_WITH = "starts_with"
    ENDS_WITH = "ends_with"
    MATCHES = "matches"
    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"
    BEFORE = "before"
    AFTER = "after"
    SEMVER_EQ = "semver_eq"
    SEMVER_GT = "semver_gt"
    SEMVER_LT = "semver_lt"


# These compare with one value; the others hold where any of several fits.
SINGLE_VALUE: Final = frozenset(
    {Operator.MATCHES, Operator.GT, Operator.GTE, Operator.LT, Operator.LTE, Operator.BEFORE}
    | {Operator.AFTER, Operator.SEMVER_EQ, Operator.SEMVER_GT, Operator.SEMVER_LT}
)


class FlagState(StrEnum):
    """How a flag stands as a whole, in one word for lists."""

    ON = "on"
    PARTIAL = "partial"
    OFF = "off"
    KILLED = "killed"
    NOT_STARTED = "not_started"
    EXPIRED = "expired"
    ARCHIVED = "archived"


# Stands in for the counter of a decision that nobody counts.
_UNCOUNTED: Final = repeat(None)


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer of one flag for one subject.

    ``rule`` names the rule that turned it on; ``variant`` and ``value`` are what an on-flag gives
    beside that.  Decisions are made beforehand and shared, and each bears its own ``counter``:
    whoever hands one out takes the next from it.
    """

    enabled: bool
    reason: Reason
    rule: str | None = None
    variant: str | None = None
    value: Any = None
    counter: Iterator[object] = field(default=_UNCOUNTED, compare=False, repr=False)


class EvaluationContext(NamedTuple):
    """What a flag is asked about.

    ``attributes`` are facts about the subject that only the caller knows, such as its plan.
    """

    subject: str | None
    environment: str
    now: datetime
    attributes: Mapping[str, Any] = NOTHING


Override = bool | float


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One comparison: ``values`` are texts, whatever the operator reads in them.

    Where the subject lacks the attribute, or has one that the operator cannot read, the condition
    does not hold, negated or not; only ``not_in`` then does.
    """

    attribute: str
    operator: Operator
    values: tuple[str, ...]
    negate: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Raises the percentage for the subjects for whom all its conditions and segments hold."""

    name: str
    conditions: tuple[Condition, ...] = ()
    segments: tuple[str, ...] = ()
    percentage: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One of several things that an on-flag gives; its share is its weight among all weights."""

    name: str
    weight: int
    value: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prerequisite:
    """Another flag that must be on (or off) for the same subject, else this one is off."""

    flag: str
    enabled: bool = True


class RolloutState(StrEnum):
    """How the plan of a flag stands; ``none`` is also that of a flag without one."""

    NONE = "none"
    RUNNING = "running"
    PAUSED = "paused"
    #: By a guard: the share stays as it is.
    HALTED = "halted"
    #: By a guard or by hand: the share went back to the step before.
    ROLLED_BACK = "rolled_back"
    COMPLETED = "completed"


#: A plan in one of these goes on where somebody resumes it, and not before.
STOPPED: Final = frozenset({RolloutState.PAUSED, RolloutState.HALTED, RolloutState.ROLLED_BACK})


class GuardMetric(StrEnum):
    """The sign of harm that a guard looks at."""

    BREAKER_OPEN = "breaker_open"
    JOB_FAILURE_RATE = "job_failure_rate"
    JOB_COMPARISON = "job_comparison"
    DEAD_LETTERS = "dead_letters"
    ERRORS = "errors"


class GuardAction(StrEnum):
    """What a guard does when it trips."""

    HALT = "halt"
    ROLL_BACK = "roll_back"


class GuardState(StrEnum):
    """How a guard stands."""

    #: The flag is off, or on for nobody or everybody: there is nothing to guard.
    IDLE = "idle"
    #: Too little has happened to judge by.
    COLLECTING = "collecting"
    CALM = "calm"
    #: The sign is there.
    HARM = "harm"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanStep:
    """From a moment on the flag is on for this share of subjects."""

    at: datetime
    percentage: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutGuard:
    """Ties a flag to a sign of harm; what its metric has no use for is None.

    ``scope`` is the breaker or the type of job, empty for all.  It trips where the value is above
    ``threshold`` within ``window`` seconds, of ``min_sample`` attempts at the least.
    """

    name: str
    metric: GuardMetric
    scope: str = ""
    threshold: float | None = None
    window: int | None = None
    min_sample: int | None = None
    action: GuardAction = GuardAction.ROLL_BACK


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardFacts:
    """What is known of a metric; ``scope`` says what its guards name, empty where they name none.

    ``of_all`` tells whether it can be left out, for all of them.
    """

    title: str
    scope: str = ""
    of_all: bool = False
    percent: bool = False
    threshold: bool = False
    window: bool = False
    sample: bool = False


GUARD_METRICS: Final[Mapping[GuardMetric, GuardFacts]] = MappingProxyType(
    {
        GuardMetric.BREAKER_OPEN: GuardFacts(title="Breaker opens", scope="breaker"),
        GuardMetric.JOB_FAILURE_RATE: GuardFacts(
            title="Failure rate of a job type",
            scope="job type",
            percent=True,
            threshold=True,
            window=True,
            sample=True,
        ),
        GuardMetric.JOB_COMPARISON: GuardFacts(
            title="Jobs fail more with the flag on", scope="job type", sample=True
        ),
        GuardMetric.DEAD_LETTERS: GuardFacts(
            title="New dead letters", scope="job type", of_all=True, threshold=True, window=True
        ),
        GuardMetric.ERRORS: GuardFacts(
            title="Errors that programs report", threshold=True, window=True
        ),
    }
)


Segments = Mapping[str, tuple[Condition, ...]]
NO_SEGMENTS: Final[Segments] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagDefinition:
    """All of a flag that decides; ``percentage`` goes from 0 to 100 in steps of 0.01.

    An environment's override is True or False (on or off for all that are not blacklisted), or a
    percentage of its own.
    """

    name: str
    enabled: bool = False
    percentage: float = 0.0
    whitelist: tuple[str, ...] = ()
    blacklist: tuple[str, ...] = ()
    environments: tuple[str, ...] = ()
    environment_overrides: Mapping[str, Override] = field(default_factory=dict)
    starts_at: datetime | None = None
    expires_at: datetime | None = None
    rules: tuple[Rule, ...] = ()
    variants: tuple[Variant, ...] = ()
    prerequisites: tuple[Prerequisite, ...] = ()
    stickiness: str = ""


NEVER: Final = -1


@dataclass(frozen=True, slots=True)
class FlagSet:
    """All that decides, as it stood at one revision; flags in use only, by name."""

    revision: int = NEVER
    flags: Mapping[str, FlagDefinition] = field(default_factory=dict)
    segments: Segments = field(default_factory=dict)


NO_FLAGS: Final = FlagSet()


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagDraft(FlagDefinition):
    """A whole flag as somebody wants it; an empty ``stickiness`` means the flag's name."""

    description: str = ""
    group: str | None = None
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    rollout_plan: tuple[PlanStep, ...] = ()
    guards: tuple[RolloutGuard, ...] = ()


class Unset(Enum):
    """Stands for "not given", since None is a value."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagChanges:
    """The fields of a flag that somebody wants changed; the rest stays as it is."""

    enabled: bool | Unset = UNSET
    percentage: float | Unset = UNSET
    whitelist: tuple[str, ...] | Unset = UNSET
    blacklist: tuple[str, ...] | Unset = UNSET
    environments: tuple[str, ...] | Unset = UNSET
    environment_overrides: Mapping[str, Override] | Unset = UNSET
    starts_at: datetime | Unset | None = UNSET
    expires_at: datetime | Unset | None = UNSET
    rules: tuple[Rule, ...] | Unset = UNSET
    variants: tuple[Variant, ...] | Unset = UNSET
    prerequisites: tuple[Prerequisite, ...] | Unset = UNSET
    stickiness: str | Unset = UNSET
    description: str | Unset = UNSET
    group: str | Unset | None = UNSET
    tags: tuple[str, ...] | Unset = UNSET
    metadata: Mapping[str, Any] | Unset = UNSET
    rollout_plan: tuple[PlanStep, ...] | Unset = UNSET
    guards: tuple[RolloutGuard, ...] | Unset = UNSET

    def given(self) -> dict[str, Any]:
        """Return the fields that are given, by name."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: value for name, value in values.items() if value is not UNSET}


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentDraft:
    """A segment as somebody wants it: conditions under a name, for the rules of many flags."""

    name: str
    description: str = ""
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupDraft:
    """A group as somebody wants it: flags that belong together, under a name."""

    name: str
    description: str = ""


def subject_id(subject: object) -> str | None:
    """Return a subject's id as text, whatever type the caller keeps it in; nothing is None."""
    if type(subject) is str:
        return subject or None
    return None if subject is None else str(subject) or None


def text_of(value: object) -> str | None:
    """Return a plain value as the text that conditions compare, None for what is none.

    A whole number is written without a point, however the caller's language keeps it.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, int):
        # Python refuses to write one of thousands of digits, and evaluation may not fail of it.
        return str(value) if value.bit_length() <= _MOST_BITS else None
    return value.isoformat() if isinstance(value, datetime) else None
