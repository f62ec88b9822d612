"""What the JSON API of rate limits answers with, by type."""

from datetime import datetime

from webapp.web.openapi import Answer, Query


class RuleResponse(Answer):
    """So many calls within any so many seconds."""

    calls: int
    seconds: int


class CallsResponse(Answer):
    """What became of the calls that asked, since the first of them."""

    allowed: int
    waited: int
    refused: int


class PauseResponse(Answer):
    """No call goes out until then, and why."""

    until: datetime
    reason: str


class LimitResponse(Answer):
    """How a limit stands; ``source`` is null where it is that of another guard."""

    name: str
    source: str | None
    limit: RuleResponse | None
    used: int
    left: int | None
    reset_seconds: float | None
    calls: CallsResponse
    pause: PauseResponse | None


class LiftQuery(Query):
    """Why a pause is lifted, where no body says it."""

    reason: str
