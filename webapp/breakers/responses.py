"""What the JSON API of breakers answers with, by type."""

from datetime import datetime
from typing import Annotated

from pydantic import Field

from webapp.breakers.values import BreakerState, EventKind, Force
from webapp.web.openapi import Answer, Collection, Limit, Query


class ThresholdsResponse(Answer):
    """When a circuit opens and closes; seconds, and percent."""

    failures: int
    successes: int
    open_seconds: float
    failure_rate: float | None
    window_seconds: int
    window_calls: int
    slow_seconds: float | None
    slow_rate: float
    growth: float
    max_open_seconds: float
    trial_seconds: float


class TallyResponse(Answer):
    """Calls that were counted; rates in percent of those that are not neutral, null without any."""

    calls: int
    failures: int
    failure_rate: float | None
    slow: int
    refused: int
    spared: int
    neutral: int


class RecentResponse(TallyResponse):
    """What so many minutes counted."""

    minutes: int


class NamedTallyResponse(TallyResponse):
    """What one breaker counted."""

    name: str


class ControlResponse(Answer):
    """What an operator forces, why, and until when."""

    force: Force
    until: datetime | None
    reason: str | None
    by: str | None


class CallerResponse(Answer):
    """Who calls through a breaker."""

    name: str
    seen_at: datetime


class EventResponse(Answer):
    """One event of a breaker's history."""

    at: datetime
    kind: EventKind
    from_: Annotated[str, Field(alias="from")]
    to: str
    error: str | None
    note: str | None
    reason: str | None
    actor: str


class BreakerResponse(Answer):
    """A breaker: ``state`` is what a call meets, ``circuit`` how the circuit itself stands."""

    name: str
    state: str
    circuit: BreakerState
    force: ControlResponse
    failures: int
    successes: int
    open_until: datetime | None
    trial_until: datetime | None
    last_error: str | None
    thresholds: ThresholdsResponse
    declared: ThresholdsResponse | None
    customized: bool
    version: int
    last_minute: TallyResponse
    recent: RecentResponse
    callers: list[CallerResponse]
    updated_at: datetime
    events: list[EventResponse]


class BreakersResponse(Collection[BreakerResponse]):
    """Some of the breakers; ``next`` is the ``after`` of the next page."""

    next: str | None


class BreakersQuery(Query):
    """Which breakers are wanted, and from behind which."""

    q: str
    state: str
    after: str
    limit: Limit


class SummaryResponse(Answer):
    """How all breakers stand, and what they counted in the last minutes."""

    total: int
    by_state: dict[str, int]
    minutes: int
    counts: TallyResponse
    trips: int
    most_failures: list[NamedTallyResponse]


class StepResponse(Answer):
    """One step of a scratch breaker; ``at`` is in seconds of its own clock."""

    at: float
    step: str
    outcome: str
    state: str
    failures: int
    seconds_left: float | None


class TraceResponse(Answer):
    """What a scratch breaker went through."""

    thresholds: ThresholdsResponse
    steps: list[StepResponse]
