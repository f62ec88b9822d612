"""How fast one flag is decided in process, beside the least that could and the SDKs of others.

The flag has 100 whitelisted ids, a rule of two conditions and a rollout of 25 %; it is asked for
100,000 subjects.  The floor is a bare closure over a frozenset and the hash, without the rule; the
second floor has the rule too.  Run it from the project's folder:

    python bench/flags_inprocess.py [--peers PYTHON ...]

``--peers`` measures the SDKs of requirements-peers.txt with the interpreter that has them.
"""

import sys
import tempfile
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import flask_migrate
import mmh3

from peers import best_rate, line, measure_all
from question import (
    FLAG,
    RULE_COUNTRIES,
    RULE_PLANS,
    RULE_SHARE,
    SHARE,
    WHITELIST,
    Decide,
    subjects,
)
from webapp.actors import COMMAND
from webapp.app import create_app
from webapp.db import transaction
from webapp.flags import is_enabled
from webapp.flags.evaluation import Surroundings, compile_flag
from webapp.flags.service import create_flag
from webapp.flags.snapshot import flag_store
from webapp.flags.values import Condition, FlagDraft, Operator, Rule
from webapp.settings import Settings

NOW = datetime(2026, 11, 22, tzinfo=UTC)
DRAFT = FlagDraft(
    name=FLAG,
    enabled=True,
    percentage=float(SHARE),
    whitelist=WHITELIST,
    rules=(
        Rule(
            name="paying",
            conditions=(
                Condition(attribute="plan", operator=Operator.IN, values=RULE_PLANS),
                Condition(attribute="country", operator=Operator.IN, values=RULE_COUNTRIES),
            ),
            percentage=float(RULE_SHARE),
        ),
    ),
)
FLOOR = "floor"
OURS = "is_enabled, counting on"
ROUNDS = 15
ROUND = 50_000


def floor() -> Decide:
    """Return the least that decides a rollout: membership, one hash, one comparison."""
    whitelist, prefix, murmur, limit = frozenset(WHITELIST), f"{FLAG}:", mmh3.hash, SHARE * 100

    def decide(subject: str, attributes: Mapping[str, str]) -> bool:  # noqa: ARG001
        if subject in whitelist:
            return True
        spread = murmur(prefix + subject, 0, False)
        return bool(spread % 100 * 100 + spread // 100 % 100 < limit)

    return decide


def floor_with_rule() -> Decide:
    """Return the least that decides all of the flag."""
    whitelist, prefix, murmur = frozenset(WHITELIST), f"{FLAG}:", mmh3.hash
    plans, countries = frozenset(RULE_PLANS), frozenset(RULE_COUNTRIES)
    limit, raised = SHARE * 100, RULE_SHARE * 100

    def decide(subject: str, attributes: Mapping[str, str]) -> bool:
        if subject in whitelist:
            return True
        spread = murmur(prefix + subject, 0, False)
        bucket = spread % 100 * 100 + spread // 100 % 100
        return bucket < limit or (
            bucket < raised and attributes["plan"] in plans and attributes["country"] in countries
        )

    return decide


def compiled() -> Decide:
    """Return the closure of a compiled flag."""
    decide = compile_flag(DRAFT, Surroundings("production")).decide
    return lambda subject, attributes: decide(subject, attributes, NOW).enabled


def public(subject: str, attributes: Mapping[str, str]) -> bool:
    """Call what an application calls."""
    return is_enabled(FLAG, subject, attributes=attributes)


def public_rate(of: int) -> float:
    """Return decisions a second of one round of :func:`is_enabled`, called as an application does.

    Not through a function of ours, which would cost a tenth of what is measured.
    """
    asked = subjects(of)
    started = perf_counter()
    for subject, attributes in asked:
        is_enabled(FLAG, subject, attributes=attributes)
    return of / (perf_counter() - started)


@contextmanager
def uncounted() -> Iterator[None]:
    """Ask as with FF_ENABLE_METRICS=false."""
    store = flag_store()
    usage, store.usage = store.usage, None
    # What is ready was made to count.
    store.stop()
    yield
    store.usage = usage
    store.stop()


@contextmanager
def flag_in_use() -> Iterator[None]:
    """Store the flag in a database of its own, as an application would."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings.from_environment({"INSTANCE_DIR": folder, "LOG_LEVEL": "WARNING"})
        app = create_app(settings)
        with app.app_context():
            flask_migrate.upgrade()
            with transaction() as session:
                create_flag(session, DRAFT, by=COMMAND, now=NOW, reason="to be measured")
            yield
            flag_store().stop()
            if usage := flag_store().usage:
                usage.stop()


def ours() -> dict[str, float]:
    """Measure the floors and ours in turn, so that all of them meet the same machine.

    Returns decisions a second: the best of many short rounds, which other load disturbed least.
    """
    of = len(subjects())
    with flag_in_use():
        answers = [
            [decide(*asked) for asked in subjects()] for decide in (floor_with_rule(), public)
        ]
        if answers[0] != answers[1]:
            sys.exit("the flag and the floor disagree")
        print(f"on for {sum(answers[0]):,} of {of:,} subjects")
        best: dict[str, float] = {}
        for _ in range(ROUNDS):
            for name, decide in floors().items():
                best[name] = max(best.get(name, 0), best_rate(decide, ROUND, rounds=1))
            for name, counting in (("is_enabled, counting off", False), (OURS, True)):
                with nullcontext() if counting else uncounted():
                    # What is asked first makes things ready.
                    public(*subjects(1)[0])
                    best[name] = max(best.get(name, 0), public_rate(ROUND))
    return best


def floors() -> dict[str, Decide]:
    """Return what is measured beside what an application calls."""
    return {
        FLOOR: floor(),
        "floor with the rule": floor_with_rule(),
        "compiled closure": compiled(),
    }


def main() -> None:
    """Measure ours, then the others, and print them beside each other."""
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", action="append", type=Path, metavar="PYTHON", default=[])
    pythons = parser.parse_args().peers
    rates = ours()
    for name, rate in rates.items():
        print(f"{name:28} {rate:12,.0f} /s   {rates[FLOOR] / rate:5.2f} x the floor's time")
    for peer in measure_all(pythons) if pythons else ():
        ratio = f"ours is {rates[OURS] / peer.rate:,.0f} x as fast" if peer.rate else ""
        print(f"{line(peer)}   {ratio}", flush=True)


if __name__ == "__main__":
    main()
