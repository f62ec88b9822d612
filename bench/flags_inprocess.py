"""How fast one flag is decided in process, beside the floor that nothing can go below.

The flag has 100 whitelisted ids and a rollout of 25 %; it is asked for 100,000 subjects.  The
floor is a bare closure over a frozenset and the hash.  Run it from the project's folder:
``python bench/flags_inprocess.py``.
"""

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import flask_migrate
import mmh3

from webapp.actors import COMMAND
from webapp.app import create_app
from webapp.db import transaction
from webapp.flags import is_enabled
from webapp.flags.evaluation import compile_flag
from webapp.flags.service import create_flag
from webapp.flags.snapshot import flag_store
from webapp.flags.values import EvaluationContext, FlagDraft
from webapp.settings import Settings

SUBJECTS = [f"user-{number}" for number in range(100_000)]
ROUNDS = 7
FLAG = FlagDraft(
    name="bench.rollout",
    enabled=True,
    percentage=25.0,
    whitelist=tuple(f"user-{number}" for number in range(0, 1000, 10)),
)
NOW = datetime(2026, 11, 22, tzinfo=UTC)


def floor() -> Callable[[str], bool]:
    """Return the least that decides the same: membership, one hash, one comparison."""
    whitelist, prefix, murmur = frozenset(FLAG.whitelist), FLAG.name + ":", mmh3.hash

    def decide(subject: str) -> bool:
        if subject in whitelist:
            return True
        spread = murmur(prefix + subject, 0, False)
        return bool(spread % 100 * 100 + spread // 100 % 100 < 2_500)  # noqa: PLR2004

    return decide


def compiled() -> Callable[[str], bool]:
    """Return the closure of a compiled flag, with a context for each subject."""
    decide = compile_flag(FLAG)
    return lambda subject: decide(EvaluationContext(subject, "production", NOW)).enabled


def public() -> Callable[[str], bool]:
    """Return what an application calls."""
    return lambda subject: is_enabled(FLAG.name, subject)


@contextmanager
def uncounted() -> Iterator[None]:
    """Ask as with FF_ENABLE_METRICS=false."""
    store = flag_store()
    usage, store.usage = store.usage, None
    yield
    store.usage = usage


def rate(decide: Callable[[str], bool]) -> float:
    """Return evaluations a second: the best of some rounds, which other load disturbed least."""
    best = float("inf")
    for _ in range(ROUNDS):
        started = perf_counter()
        for subject in SUBJECTS:
            decide(subject)
        best = min(best, perf_counter() - started)
    return len(SUBJECTS) / best


def main() -> None:
    """Measure them all on a database of their own and print them beside each other."""
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(
            Settings.from_environment({"INSTANCE_DIR": folder, "LOG_LEVEL": "WARNING"})
        )
        with app.app_context():
            flask_migrate.upgrade()
            with transaction() as session:
                create_flag(session, FLAG, by=COMMAND, now=NOW, reason="to be measured")
            answers = [[decide(subject) for subject in SUBJECTS] for decide in (floor(), public())]
            if answers[0] != answers[1]:
                sys.exit("the flag and the floor disagree")
            rates = {"floor": rate(floor()), "compiled": rate(compiled())}
            with uncounted():
                rates["is_enabled, counting off"] = rate(public())
            rates["is_enabled, counting on"] = rate(public())
            if usage := flag_store().usage:
                usage.stop()
    print(f"on for {sum(answers[0]):,} of {len(SUBJECTS):,} subjects")
    for name, value in rates.items():
        print(f"{name:24} {value:12,.0f} /s   {rates['floor'] / value:5.2f} x the floor's time")


if __name__ == "__main__":
    main()
