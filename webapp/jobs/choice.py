"""How many jobs a worker takes at once.  Pure: candidates and paces in, a choice out.

A job that is claimed waits for those claimed before it.  Only quick ones may therefore be taken
together, so that the last of them begins as soon as another worker could have begun it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

#: Paces of the types that a worker knows: seconds that a job took lately, None before the first.
Paces = Mapping[str, float | None]

MOST = 32
#: A type is quick whose jobs take no longer, and a batch is full that takes longer in all.
QUICK_SECONDS = 0.01
BATCH_SECONDS = 0.05
#: How much the last job counts in the pace of its type.
WEIGHT = 0.2


@dataclass(frozen=True, slots=True)
class Candidate:
    """A job that waits; ``claims`` is how often it was claimed before."""

    job_id: int
    type: str
    claims: int


def most_at_once(paces: Paces) -> int:
    """Return how many candidates a worker needs to see."""
    return MOST if any(_is_quick(pace) for pace in paces.values()) else 1


def choose(candidates: Sequence[Candidate], paces: Paces) -> list[Candidate]:
    """Return the first candidate and, if it is quick, as many behind it as are quick too.

    None is passed over, so that priorities hold.  A job that was claimed before is taken alone: it
    may be the one that killed its worker, and must not take others with it again.
    """
    chosen: list[Candidate] = []
    seconds = 0.0
    for candidate in candidates:
        pace = paces.get(candidate.type)
        quick = _is_quick(pace) and not candidate.claims
        if chosen and not quick:
            break
        chosen.append(candidate)
        seconds += pace or 0.0
        if not quick or seconds > BATCH_SECONDS:
            break
    return chosen


def next_pace(pace: float | None, seconds: float) -> float:
    """Return the pace of a type after one more job: a mean that forgets."""
    return seconds if pace is None else (1 - WEIGHT) * pace + WEIGHT * seconds


def _is_quick(pace: float | None) -> bool:
    return pace is not None and pace <= QUICK_SECONDS
