"""The vocabulary of alerts.  Nothing here touches the database, the queue or the clock."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

MAX_NAME: Final = 64
MAX_LABEL: Final = 255
MAX_CHANNELS: Final = 50
MINUTE: Final = 60
DAY: Final = 86_400
#: Figures of jobs by the hour are kept for longer, but nobody waits for an alert for so long.
MAX_WINDOW: Final = 7 * DAY
MAX_FOR: Final = DAY
MAX_COOLDOWN: Final = 7 * DAY
DEFAULT_WINDOW: Final = 3600
DEFAULT_COOLDOWN: Final = 1800
#: A share of fewer than so many says little.
LEAST_SAMPLE: Final = 5
MAX_SAMPLE: Final = 1_000_000
MAX_THRESHOLD: Final = 1e9
#: A silence that lasts longer is a rule that wants to be changed.
MAX_SILENCE: Final = timedelta(days=90)
#: So many things of one metric are judged in one evaluation, those that are worst first.
MOST_READINGS: Final = 500


class Metric(StrEnum):
    """What is measured."""

    JOB_FAILURE_RATE = "job_failure_rate"
    BREAKER_OPEN = "breaker_open"
    DEAD_LETTERS_OPEN = "dead_letters_open"
    WORKERS_ALIVE = "workers_alive"
    OLDEST_QUEUED_SECONDS = "oldest_queued_seconds"
    FLAGS_STALE = "flags_stale"
    ROLLOUT_ROLLED_BACK = "rollout_rolled_back"
    IDEMPOTENCY_REPLAY_RATE = "idempotency_replay_rate"
    SCHEDULE_LATE_SECONDS = "schedule_late_seconds"
    SOURCE_FAILING = "source_failing"


class Unit(StrEnum):
    """What the numbers of a metric are."""

    PERCENT = "percent"
    SECONDS = "seconds"
    COUNT = "count"


class Direction(StrEnum):
    """How a measured value is compared with the threshold of a rule."""

    ABOVE = "above"
    BELOW = "below"


class Severity(StrEnum):
    """How bad it is, from the least."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """Return a number that rises with how bad it is."""
        return list(Severity).index(self)


class AlertState(StrEnum):
    """Where an alert stands; inactive is one that went away before it fired."""

    PENDING = "pending"
    FIRING = "firing"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"
    INACTIVE = "inactive"


#: What asks for somebody's attention.
ACTIVE: Final = frozenset({AlertState.FIRING, AlertState.ACKNOWLEDGED})
#: At most one alert of a key is open; what comes back later is an alert of its own.
OPEN: Final = ACTIVE | {AlertState.PENDING}


class AlertEvent(StrEnum):
    """What happened to an alert, as its history tells it."""

    PENDING = "pending"
    FIRED = "fired"
    ROSE = "rose"
    FELL = "fell"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"
    WENT_AWAY = "went_away"
    TOLD = "told"


class Telling(StrEnum):
    """What people are told of an alert."""

    FIRED = "fired"
    ROSE = "rose"
    STILL = "still"
    RESOLVED = "resolved"


class Mute(StrEnum):
    """Why an alert is not told."""

    SILENCED = "silenced"
    INHIBITED = "inhibited"


class Missing(StrEnum):
    """What it means that a thing was not measured."""

    #: There is none of it: its value is 0.
    ZERO = "zero"
    #: Nobody knows: a rule does not hold for it.
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricFacts:
    """What is known of a metric.

    ``label`` names what each reading is of, empty where there is one for all.  ``windowed`` tells
    whether it looks back over a rule's window, ``sampled`` whether its values are shares of a
    number of things.  ``history`` tells whether the past of it is kept, for a preview.
    """

    title: str
    unit: Unit
    label: str = ""
    windowed: bool = False
    sampled: bool = False
    history: bool = False
    missing: Missing = Missing.ZERO


def applies(metric: Metric, *, has_workers: bool) -> bool:
    """Tell whether a metric means anything here: where there are to be no workers, none is missed.

    Whoever enqueues a job runs it there.
    """
    return has_workers or metric != Metric.WORKERS_ALIVE


METRICS: Final[Mapping[Metric, MetricFacts]] = {
    Metric.JOB_FAILURE_RATE: MetricFacts(
        title="Failure rate of a job type",
        unit=Unit.PERCENT,
        label="job type",
        windowed=True,
        sampled=True,
        history=True,
        missing=Missing.UNKNOWN,
    ),
    Metric.BREAKER_OPEN: MetricFacts(
        title="Breaker open", unit=Unit.COUNT, label="breaker", history=True
    ),
    Metric.DEAD_LETTERS_OPEN: MetricFacts(title="Dead letters open", unit=Unit.COUNT),
    Metric.WORKERS_ALIVE: MetricFacts(title="Workers alive", unit=Unit.COUNT),
    Metric.OLDEST_QUEUED_SECONDS: MetricFacts(
        title="Wait of the oldest due job", unit=Unit.SECONDS
    ),
    Metric.FLAGS_STALE: MetricFacts(
        title="Flags decided on a stale snapshot",
        unit=Unit.COUNT,
        label="host",
        windowed=True,
        history=True,
    ),
    Metric.ROLLOUT_ROLLED_BACK: MetricFacts(
        title="Rollout rolled back by a guard",
        unit=Unit.COUNT,
        label="flag",
        windowed=True,
        history=True,
    ),
    Metric.IDEMPOTENCY_REPLAY_RATE: MetricFacts(
        title="Replays among writes with an idempotency key",
        unit=Unit.PERCENT,
        windowed=True,
        sampled=True,
        missing=Missing.UNKNOWN,
    ),
    Metric.SCHEDULE_LATE_SECONDS: MetricFacts(
        title="Schedule overdue", unit=Unit.SECONDS, label="schedule"
    ),
    Metric.SOURCE_FAILING: MetricFacts(
        title="Last run of a source failed", unit=Unit.COUNT, label="source"
    ),
}
#: What another part of the program reports as it happens.
REPORTED: Final = frozenset({Metric.FLAGS_STALE, Metric.ROLLOUT_ROLLED_BACK})


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleDraft:
    """All that somebody writes of a rule.

    An empty ``scope`` stands for every label of the metric, each an alert of its own.  The rule has
    to hold for ``for_seconds`` before the alert fires.
    """

    name: str
    metric: str
    threshold: float
    severity: str
    scope: str = ""
    comparison: str = Direction.ABOVE
    window_seconds: int = DEFAULT_WINDOW
    min_sample: int = LEAST_SAMPLE
    for_seconds: int = 0
    cooldown_seconds: int = DEFAULT_COOLDOWN
    channels: Sequence[str] = ()
    enabled: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What was measured of one thing; ``sample`` is how many a share is of.

    ``value`` is None where nobody knows.
    """

    metric: Metric
    label: str = ""
    value: float | None
    sample: int | None = None

    @property
    def key(self) -> str:
        """Return the key of the alert that this may make."""
        return key_of(self.metric, self.label)


def key_of(metric: str, label: str) -> str:
    """Return what an alert is known by to whoever is told: the same each time that it fires."""
    return f"{metric}:{label}" if label else metric


@dataclass(frozen=True, slots=True, kw_only=True)
class SilenceDraft:
    """What somebody writes of a silence: of one rule, of one label, or of both together."""

    rule: str = ""
    label: str = ""
    ends_at: datetime
    reason: str


#: What every deployment begins with; whoever removes one does not get it back.
SHIPPED: Final = (
    RuleDraft(
        name="jobs-failing",
        metric=Metric.JOB_FAILURE_RATE,
        threshold=20,
        severity=Severity.WARNING,
    ),
    RuleDraft(
        name="jobs-failing-badly",
        metric=Metric.JOB_FAILURE_RATE,
        threshold=50,
        severity=Severity.ERROR,
    ),
    RuleDraft(
        name="breaker-open",
        metric=Metric.BREAKER_OPEN,
        threshold=0,
        severity=Severity.CRITICAL,
    ),
    RuleDraft(
        name="dead-letters",
        metric=Metric.DEAD_LETTERS_OPEN,
        threshold=50,
        severity=Severity.ERROR,
    ),
    RuleDraft(
        name="dead-letters-many",
        metric=Metric.DEAD_LETTERS_OPEN,
        threshold=100,
        severity=Severity.CRITICAL,
    ),
    RuleDraft(
        name="no-worker",
        metric=Metric.WORKERS_ALIVE,
        comparison=Direction.BELOW,
        threshold=1,
        severity=Severity.CRITICAL,
    ),
    RuleDraft(
        name="jobs-waiting",
        metric=Metric.OLDEST_QUEUED_SECONDS,
        threshold=900,
        severity=Severity.ERROR,
    ),
    RuleDraft(
        name="flags-stale",
        metric=Metric.FLAGS_STALE,
        threshold=0,
        severity=Severity.ERROR,
        window_seconds=300,
    ),
    RuleDraft(
        name="rollout-rolled-back",
        metric=Metric.ROLLOUT_ROLLED_BACK,
        threshold=0,
        severity=Severity.ERROR,
    ),
    RuleDraft(
        name="idempotency-replays",
        metric=Metric.IDEMPOTENCY_REPLAY_RATE,
        threshold=20,
        severity=Severity.INFO,
    ),
)
