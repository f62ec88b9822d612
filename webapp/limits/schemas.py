"""Rate limits as JSON: the bodies that are read, and the answers."""

from typing import Any

from webapp.limits.values import SOURCE_PREFIX, LimitStats
from webapp.web.schemas import ReasonText, Schema


class LimitBody(Schema):
    """How often a source may be called: neither number is its kind's default, 0 calls no limit."""

    calls: int | None = None
    seconds: int | None = None
    reason: ReasonText = ""


def stats_as_json(stats: LimitStats) -> dict[str, Any]:
    """Write how a limit stands; ``source`` is null for the limit of another guard."""
    return {
        "name": stats.name,
        "source": stats.source if stats.name.startswith(SOURCE_PREFIX) else None,
        "limit": {"calls": stats.limit.calls, "seconds": stats.limit.seconds}
        if stats.limit
        else None,
        "used": stats.used,
        "left": stats.left,
        "reset_seconds": None if stats.reset is None else round(stats.reset, 1),
        "calls": {
            "allowed": stats.counts.allowed,
            "waited": stats.counts.waited,
            "refused": stats.counts.refused,
        },
        "pause": {"until": stats.pause.until, "reason": stats.pause.reason}
        if stats.pause
        else None,
    }
