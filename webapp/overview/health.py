"""How the whole stands, in one word and its reasons.  Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

OLDEST_SECONDS = 15 * 60
FAILING_PERCENT = 50
FEWEST_RUNS = 5
ALERTS_NAMED = 3


class Level(StrEnum):
    """From well to worst."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signs:
    """What the word is made from; ``failing`` names the job types that mostly fail.

    ``signals_down`` is where processes cannot tell each other of changed flags, ``alerts`` what
    fires, the worst first, with the level that the worst stands for.
    """

    workers_alive: int
    schedulers_alive: int
    open_breakers: int
    open_letters: int
    oldest_seconds: float | None
    failing: Sequence[str]
    flags_stale: bool
    signals_down: bool
    alerts: Sequence[str] = ()
    alert_level: Level = Level.HEALTHY


@dataclass(frozen=True, slots=True)
class Assessment:
    """One word, and a sentence for each reason, worst first."""

    level: Level
    reasons: tuple[str, ...]


def assess(signs: Signs) -> Assessment:
    """Return the worst level that any sign gives, with every reason."""
    found = [
        (Level.CRITICAL, "No worker is alive: jobs wait.", not signs.workers_alive),
        (
            Level.UNHEALTHY,
            "No worker has a scheduler: schedules do not fire, and lost jobs stay lost.",
            bool(signs.workers_alive) and not signs.schedulers_alive,
        ),
        (
            Level.UNHEALTHY,
            f"{_named(signs.failing)} failed more often than not in 24 h.",
            bool(signs.failing),
        ),
        (
            Level.UNHEALTHY,
            "The oldest due job has waited for over 15 minutes.",
            (signs.oldest_seconds or 0) > OLDEST_SECONDS,
        ),
        (
            Level.DEGRADED,
            _count(signs.open_breakers, "breaker is", "breakers are", "open"),
            bool(signs.open_breakers),
        ),
        (
            Level.DEGRADED,
            _count(signs.open_letters, "dead letter is", "dead letters are", "open"),
            bool(signs.open_letters),
        ),
        (Level.DEGRADED, "Flags are decided on an old snapshot.", signs.flags_stale),
        (
            Level.DEGRADED,
            "Redis does not answer: changes of flags are seen a second later.",
            signs.signals_down,
        ),
    ]
    if signs.alerts:
        found.append((signs.alert_level, _firing(signs.alerts), True))
    held = [(level, reason) for level, reason, holds in found if holds]
    held.sort(key=lambda item: list(Level).index(item[0]), reverse=True)
    level = held[0][0] if held else Level.HEALTHY
    return Assessment(level, tuple(reason for _, reason in held))


def _firing(titles: Sequence[str]) -> str:
    more = len(titles) - ALERTS_NAMED
    rest = f" and {more:,} more" if more > 0 else ""
    named = "; ".join(titles[:ALERTS_NAMED])
    return f"{'Alert' if len(titles) == 1 else 'Alerts'}: {named}{rest}."


def _named(types: Sequence[str]) -> str:
    return ", ".join(types)


def _count(number: int, one: str, many: str, state: str) -> str:
    return f"{number:,} {one if number == 1 else many} {state}."
