"""Whether jobs fail more often with a flag on than with it off, told at any moment.  Pure.

A test that is valid under continuous looking: however often and whenever somebody looks, a rollout
that does no harm is accused with a chance of at most ``alpha``.

Outcomes are taken in blocks, those of about a minute each.  Given how many attempts of a block had
the flag on and off, and how many failed in all, the number that failed with it on is hypergeometric
where the flag makes no difference, whatever the failure rate of that minute is: an outage that hits
both sides accuses nobody.  Where the flag multiplies the odds of a failure by ``ratio`` it has
Fisher's noncentral hypergeometric distribution.  Their likelihood ratio has the mean 1 where there
is no harm, and so has the product over blocks, a martingale.  What is looked at is a mixture of
such products over several ratios (a mixture sequential probability ratio test: Robbins 1970, Annals
of Mathematical Statistics 41; Johari, Koomen, Pekelis and Walsh 2022, Operations Research 70) and
over the block with which the harm began (as an e-detector does: Shin, Ramdas and Rinaldo 2023, New
England Journal of Statistics in Data Science 2), so that weeks without harm hide none that a
release brings later.  It is at most 1 in the mean, so by Ville's inequality (1939) it reaches
1 / ``alpha`` with a chance of at most ``alpha``.

Harm is meant one-sided: a flag with which less fails is never accused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import exp, inf, lgamma, log, log2
from typing import Any, Final

#: By how much the odds of a failure may be multiplied.  The smallest says what is let pass: a flag
#: that multiplies them by less than about 1.12 is accused by chance only.
RATIOS: Final = (1.25, 1.5, 2.0, 3.0, 5.0, 10.0)
#: Evidence is told up to here.
MOST_EVIDENCE: Final = 1e12
_SIDES: Final = ("on", "off", "waiting_on", "waiting_off")


@dataclass(frozen=True, slots=True)
class Side:
    """How attempts ended that had the flag on, or off."""

    failed: int = 0
    attempts: int = 0

    def __add__(self, other: "Side") -> "Side":
        return Side(self.failed + other.failed, self.attempts + other.attempts)

    @property
    def rate(self) -> float | None:
        """Return the share that failed in percent, None where there was none."""
        return 100 * self.failed / self.attempts if self.attempts else None


NOTHING_SEEN: Final = Side()


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What is remembered of all blocks; ``weights`` are logarithms, one for each ratio.

    ``on`` and ``off`` are sums.  ``waiting_on`` and ``waiting_off`` wait for the other side: what
    has one side only tells nothing, and joins the block after it.
    """

    blocks: int = 0
    weights: tuple[float, ...] = field(default=(-inf,) * len(RATIOS))
    on: Side = NOTHING_SEEN
    off: Side = NOTHING_SEEN
    waiting_on: Side = NOTHING_SEEN
    waiting_off: Side = NOTHING_SEEN

    @property
    def evidence(self) -> float:
        """Return by how many times what was seen is likelier with harm than without."""
        started = sum(exp(min(weight, log(MOST_EVIDENCE))) for weight in self.weights)
        return min(started / len(RATIOS) + _unbegun(self.blocks), MOST_EVIDENCE)


def with_block(seen: Comparison, on: Side, off: Side) -> Comparison:
    """Add how the attempts of a further block ended.

    Where a block ends must not depend on what failed in it.
    """
    totals = replace(seen, on=seen.on + on, off=seen.off + off)
    on, off = seen.waiting_on + on, seen.waiting_off + off
    if not on.attempts or not off.attempts:
        return replace(totals, waiting_on=on, waiting_off=off)
    begins = log(_unbegun(seen.blocks) - _unbegun(seen.blocks + 1))
    gains = log_ratios(on, off)
    weights = tuple(
        _log_sum((weight, begins)) + gain for weight, gain in zip(seen.weights, gains, strict=True)
    )
    return replace(
        totals,
        blocks=seen.blocks + 1,
        weights=weights,
        waiting_on=NOTHING_SEEN,
        waiting_off=NOTHING_SEEN,
    )


def _unbegun(blocks: int) -> float:
    """Return the weight of harm that begins behind so many blocks: half of it with the first."""
    return 1 / (1 + log2(1 + blocks))


def log_ratios(on: Side, off: Side) -> list[float]:
    """Return the logarithm of the likelihood ratio of a block, for each of the ratios."""
    failed = on.failed + off.failed
    if not failed or failed == on.attempts + off.attempts:
        return [0.0] * len(RATIOS)
    least, chances = _hypergeometric(on.attempts, off.attempts, failed)
    logs = map(log, RATIOS)
    return [
        (on.failed - least) * ratio
        - _log_sum([chance + place * ratio for place, chance in enumerate(chances)])
        for ratio in logs
    ]


def _hypergeometric(on: int, off: int, failed: int) -> tuple[int, list[float]]:
    """Return the least number that can have failed on the one side, and the logarithm of the
    chance of that and of each number above it.
    """
    least, most = max(0, failed - off), min(failed, on)
    whole = _log_choices(on + off, failed)
    return least, [
        _log_choices(on, number) + _log_choices(off, failed - number) - whole
        for number in range(least, most + 1)
    ]


def _log_choices(things: int, chosen: int) -> float:
    return lgamma(things + 1) - lgamma(chosen + 1) - lgamma(things - chosen + 1)


def _log_sum(terms: Sequence[float]) -> float:
    """Return the logarithm of a sum of numbers that are given by their logarithms."""
    highest = max(terms)
    return highest if highest == -inf else highest + log(sum(exp(term - highest) for term in terms))


def comparison_as_document(seen: Comparison) -> dict[str, Any]:
    """Write what is remembered as JSON; a weight of nothing is null."""
    return {
        "blocks": seen.blocks,
        "weights": [None if weight == -inf else weight for weight in seen.weights],
    } | {name: [getattr(seen, name).failed, getattr(seen, name).attempts] for name in _SIDES}


def comparison_from(document: Mapping[str, Any]) -> Comparison:
    """Read what was remembered; what was written with other ratios is forgotten, but the sums."""
    if not document:
        return Comparison()
    sides: dict[str, Any] = {name: Side(*document[name]) for name in _SIDES}
    weights = tuple(-inf if weight is None else weight for weight in document["weights"])
    if len(weights) != len(RATIOS):
        return Comparison(**sides)
    return Comparison(blocks=document["blocks"], weights=weights, **sides)
