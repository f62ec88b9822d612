"""How often the comparison of a guard accuses a flag wrongly, and how soon it sees harm.

Rollouts are simulated attempt by attempt, and looked at once a minute, as guards are.
Run from the root of the project: ``python bench/guards_noise.py [rollouts]``.
"""

import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from webapp.flags.comparison import Comparison, Side, with_block
from webapp.flags.harm import figures_of, judge
from webapp.flags.values import GuardMetric, GuardState, RolloutGuard
from webapp.settings import Settings

ALPHA = Settings().flag_false_alarm_rate
# As the form offers it to whoever adds one.
GUARD = RolloutGuard(name="noise", metric=GuardMetric.JOB_COMPARISON, scope="any", min_sample=20)
STEPS = (0.05, 0.25, 0.50)
MINUTES = 120
A_MINUTE = 40
MOST_ON = 2_000
RATE = 0.05
OUTAGE_MINUTES = 5
OUTAGE_RATE = 0.6

Rate = Callable[[int], float]


def binomial(number: int, chance: float) -> int:
    """Draw how many of a number happen."""
    return sum(random.random() < chance for _ in range(number))


def blocks(shares: Iterator[float], on_rate: Rate, off_rate: Rate) -> Iterator[tuple[Side, Side]]:
    """Yield how the attempts of each minute ended, for as long as there are shares."""
    for minute, share in enumerate(shares):
        number = round(random.gauss(A_MINUTE, A_MINUTE**0.5))
        on = binomial(max(0, number), share)
        off = max(0, number) - on
        yield (
            Side(binomial(on, on_rate(minute)), on),
            Side(binomial(off, off_rate(minute)), off),
        )


def accused_at(found: Iterator[tuple[Side, Side]], most_on: float) -> int | None:
    """Return with how many attempts with the flag on it was accused, None where it was not."""
    seen = Comparison()
    for on, off in found:
        seen = with_block(seen, on, off)
        if seen.on.attempts > most_on:
            return None
        if judge(GUARD, figures_of(seen), alpha=ALPHA) is GuardState.HARM:
            return seen.on.attempts
    return None


def planned() -> Iterator[float]:
    """Yield the share of each minute of a plan."""
    for share in STEPS:
        yield from [share] * MINUTES


def steady(share: float) -> Iterator[float]:
    """Yield one share for ever."""
    while True:
        yield share


def restless(minute: int) -> float:
    """A dependency that is away for five minutes of every hour, for both sides."""
    return OUTAGE_RATE if minute % 60 < OUTAGE_MINUTES else RATE


def always(rate: float) -> Rate:
    """Return a rate that does not change."""
    return lambda _: rate


def main() -> None:
    """Print both: how often it is wrong, and how soon it is right."""
    rollouts = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
    random.seed(20261128)
    hours = len(STEPS) * MINUTES / 60
    print(f"alpha {ALPHA:g}, {rollouts} rollouts each, looked at once a minute")
    for title, rate in (("5 % fail", always(RATE)), ("5 % fail, with outages", restless)):
        wrong = sum(
            accused_at(blocks(planned(), rate, rate), float("inf")) is not None
            for _ in range(rollouts)
        )
        print(
            f"no harm, {title}, {hours:g} h over {len(STEPS)} steps: "
            f"{wrong} rolled back, {100 * wrong / rollouts:.2f} %"
        )
    for share in (0.5, 0.05):
        found = [
            accused_at(blocks(steady(share), always(2 * RATE), always(RATE)), MOST_ON)
            for _ in range(rollouts)
        ]
        seen = sorted(number for number in found if number is not None)
        print(
            f"harm, 5 to 10 %, at {share:.0%}: {len(seen)} rolled back within {MOST_ON:,} "
            f"attempts with the flag on, {100 * len(seen) / rollouts:.1f} %; "
            f"half of them by {seen[len(seen) // 2]:,}"
        )


if __name__ == "__main__":
    main()
