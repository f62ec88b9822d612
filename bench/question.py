"""The question that every one is asked: one flag, and the subjects it is decided for.

The flag is on for 100 whitelisted ids, for half of those that its rule fits, and for a quarter of
all others.  What is here must not know who answers.
"""

from collections.abc import Callable, Mapping
from itertools import product
from typing import Final

# What somebody has to offer to be measured: a subject and its attributes in, on or off out.
Decide = Callable[[str, Mapping[str, str]], bool]

FLAG: Final = "bench.rollout"
WHITELIST: Final = tuple(f"user-{number}" for number in range(0, 1000, 10))
RULE_PLANS: Final = ("pro", "team")
RULE_COUNTRIES: Final = ("DE", "FR", "AT")
RULE_SHARE: Final = 50
SHARE: Final = 25

_PLANS: Final = ("free", "pro", "team")
_COUNTRIES: Final = ("DE", "US", "FR", "JP")
# Made once each, so that making them is in nobody's time.
_ATTRIBUTES: Final[Mapping[tuple[str, str], Mapping[str, str]]] = {
    (plan, country): {"plan": plan, "country": country}
    for plan, country in product(_PLANS, _COUNTRIES)
}


def subjects(count: int = 100_000) -> list[tuple[str, Mapping[str, str]]]:
    """Return the first ``count`` subjects with their attributes, the same in every run."""
    return [
        (f"user-{number}", _ATTRIBUTES[_PLANS[number % 3], _COUNTRIES[number % 4]])
        for number in range(count)
    ]
