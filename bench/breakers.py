"""What a breaker costs a call that succeeds: bare, by pybreaker alone, and by ours.

All are measured in one run, in turns, so that a busy machine slows all of them alike; the fastest
round of each counts.  Ours is as guards use it: shared through a database, metrics counted.  Run it
from the project's folder:

    python bench/breakers.py
"""

import asyncio
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import flask_migrate
import pybreaker

from webapp.app import create_app
from webapp.breakers.circuit import Breaker
from webapp.breakers.registry import breaker
from webapp.settings import Settings

ROUNDS: Final = 15
CALLS: Final = 20_000
BARE: Final = "bare call"


def answer() -> int:
    """Stand in for a service that is quick to answer."""
    return 1


async def answer_async() -> int:
    """Stand in for one that is awaited."""
    return 1


def repeated(call: Callable[[], object]) -> Callable[[], None]:
    """Return a round of calls."""

    def round_() -> None:
        for _ in range(CALLS):
            call()

    return round_


def awaited(call: Callable[[], object]) -> Callable[[], None]:
    """Return a round of awaited calls in one event loop."""

    async def all_of_them() -> None:
        for _ in range(CALLS):
            await call()  # type: ignore[misc]

    return lambda: asyncio.run(all_of_them())


def blocks(circuit: Breaker) -> Callable[[], None]:
    """Return a round of blocks."""

    def round_() -> None:
        for _ in range(CALLS):
            with circuit.calling():
                answer()

    return round_


def main() -> None:
    """Measure all in turns and print what each call costs beyond the bare one."""
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(
            Settings.from_environment({"INSTANCE_DIR": folder, "LOG_LEVEL": "WARNING"})
        )
        with app.app_context():
            flask_migrate.upgrade()
        ours, theirs = breaker("bench"), pybreaker.CircuitBreaker()
        rounds: dict[str, Callable[[], None]] = {
            BARE: repeated(answer),
            "pybreaker.call": repeated(lambda: theirs.call(answer)),
            "breaker.call": repeated(lambda: ours.call(answer)),
            "breaker.call, looked up": repeated(lambda: breaker("bench").call(answer)),
            "breaker.calling": blocks(ours),
            "bare await": awaited(answer_async),
            "breaker.call_async": awaited(lambda: ours.call_async(answer_async)),
        }
        best = dict.fromkeys(rounds, float("inf"))
        for _ in range(ROUNDS):
            for name, round_ in rounds.items():
                began = perf_counter()
                round_()
                best[name] = min(best[name], (perf_counter() - began) / CALLS)
    report(best)


def report(best: dict[str, float]) -> None:
    """Print a line for each."""
    bare, theirs = best[BARE], best["pybreaker.call"] - best[BARE]
    print(f"{'':26}{'µs a call':>12}{'added':>12}{'of pybreaker':>14}")
    for name, seconds in best.items():
        added = seconds - (best["bare await"] if "async" in name or "await" in name else bare)
        share = f"{added / theirs:.2f}" if added > 0 else ""
        print(f"{name:26}{seconds * 1e6:12.3f}{added * 1e6:12.3f}{share:>14}")


if __name__ == "__main__":
    main()
