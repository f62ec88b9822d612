"""Many threads ask while flags change: no error, no state that never was, and every count."""

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Final

import pytest
from flask import Flask
from sqlalchemy import func, select

from webapp.actors import COMMAND
from webapp.db import reading, transaction
from webapp.flags import evaluate
from webapp.flags.models import FeatureFlagEvaluation, FeatureFlagUse
from webapp.flags.service import change_flag, create_flag
from webapp.flags.snapshot import FlagStore, flag_store
from webapp.flags.usage import UsageCounter
from webapp.flags.values import (
    FlagChanges,
    FlagDefinition,
    FlagDraft,
    FlagSet,
    Prerequisite,
    Variant,
)

THREADS: Final = 32
CHANGES: Final = 50
# Of each thread with each change.
QUESTIONS: Final = 20
WAIT_SECONDS: Final = 30
PAIR: Final = ("left", "right")


@pytest.fixture(autouse=True)
def flags(app: Flask, now: datetime) -> None:
    """Two flags that are always changed together, and one that builds on both."""
    both = tuple(Prerequisite(flag=name) for name in PAIR)
    red = (Variant(name="red", weight=1),)
    with app.app_context(), transaction() as session:
        for draft in (
            *(FlagDraft(name=name, enabled=True, variants=red) for name in PAIR),
            FlagDraft(name="both", enabled=True, percentage=100.0, prerequisites=both),
        ):
            create_flag(session, draft, by=COMMAND, now=now, reason="r")


@pytest.fixture
def usage(app: Flask) -> UsageCounter:
    with app.app_context():
        found = flag_store().usage
    assert found is not None
    return found


@pytest.fixture
def hurried() -> Iterator[None]:
    """Threads that take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


class Askers:
    """Threads that ask, each in its own way, a round of questions for each change."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.asked: Counter[str] = Counter()
        self.errors: list[BaseException] = []
        self.torn: list[object] = []
        self._round = threading.Barrier(THREADS + 1)
        self._noting = threading.Lock()

    def run(self, change: Callable[[int], None]) -> None:
        """Begin each round together with the change of its number."""
        threads = [threading.Thread(target=self._ask, args=(place,)) for place in range(THREADS)]
        for thread in threads:
            thread.start()
        try:
            for number in range(CHANGES):
                self._round.wait(WAIT_SECONDS)
                change(number)
        except BaseException:
            self._round.abort()
            raise
        finally:
            for thread in threads:
                thread.join()

    def _ask(self, place: int) -> None:
        asked: Counter[str] = Counter()
        ask = (self._ask_all, self._ask_one)[place % 2]
        try:
            with self.app.app_context():
                for _ in range(CHANGES):
                    self._round.wait(WAIT_SECONDS)
                    for _ in range(QUESTIONS):
                        asked.update(ask(f"user-{place}"))
        except BaseException as error:  # noqa: BLE001  # whatever it is, the test must see it
            self.errors.append(error)
            self._round.abort()
        with self._noting:
            self.asked.update(asked)

    def _ask_all(self, subject: str) -> list[str]:
        found = flag_store().evaluate_many(None, subject)
        states = {found[name].enabled for name in PAIR}
        if len(states) != 1 or found["both"].enabled not in states:
            self.torn.append(found)
        # What both builds on is asked by it: the second only where the first is as it must be.
        needed = PAIR if found["left"].enabled else PAIR[:1]
        return [*found, *needed]

    @staticmethod
    def _ask_one(subject: str) -> list[str]:
        evaluate("left", subject, environment="staging")
        decision = evaluate("right", subject)
        assert decision.variant == ("red" if decision.enabled else None)
        return [*PAIR]


@pytest.mark.usefixtures("hurried")
def test_threads_see_both_flags_changed_or_neither_and_are_all_counted(
    app: Flask, usage: UsageCounter, now: datetime
) -> None:
    def change_both(number: int) -> None:
        changes = FlagChanges(percentage=0.0 if number % 2 else 100.0)
        with app.app_context(), transaction() as session:
            for name in PAIR:
                change_flag(session, name, changes, by=COMMAND, now=now, reason="r")

    askers = Askers(app)
    askers.run(change_both)
    assert not askers.errors
    assert not askers.torn
    assert usage.flush()
    with app.app_context(), reading() as session:
        rows = session.execute(
            select(FeatureFlagEvaluation.flag, func.sum(FeatureFlagEvaluation.count)).group_by(
                FeatureFlagEvaluation.flag
            )
        )
        counted = {flag: int(number) for flag, number in rows}
        used = set(session.scalars(select(FeatureFlagUse.flag)))
    assert counted == dict(askers.asked)
    assert used == {*PAIR, "both"}


class TurningFeed:
    """Flags that are other ones at every look: all on, all off, and again."""

    def fetch(self, known: int) -> FlagSet:
        share = 0.0 if known % 2 else 100.0
        flags = {name: FlagDefinition(name=name, enabled=True, percentage=share) for name in PAIR}
        return FlagSet(known + 1, flags)


@pytest.mark.usefixtures("hurried")
def test_a_bulk_answer_is_of_one_state_however_often_flags_are_swapped() -> None:
    store = FlagStore(TurningFeed(), environment="production", poll_seconds=600, trust_seconds=60)
    stopped = threading.Event()
    seen: set[tuple[bool, ...]] = set()

    def ask() -> None:
        while not stopped.is_set():
            found = store.evaluate_many(PAIR, "u")
            seen.add(tuple(decision.enabled for decision in found.values()))

    with ThreadPoolExecutor(4) as threads:
        asking = [threads.submit(ask) for _ in range(4)]
        deadline = time.monotonic() + WAIT_SECONDS
        turns = 0
        # A loaded machine may not let anybody ask before the first two thousand are over.
        while (turns < 2_000 or len(seen) < 2) and time.monotonic() < deadline:
            store.refresh()
            turns += 1
        stopped.set()
    store.stop()
    for one in asking:
        one.result()
    assert seen == {(True, True), (False, False)}


@pytest.mark.usefixtures("hurried")
def test_threads_that_ask_first_all_wait_for_the_flags(app: Flask, now: datetime) -> None:
    with app.app_context(), transaction() as session:
        for name in PAIR:
            changes = FlagChanges(percentage=100.0)
            change_flag(session, name, changes, by=COMMAND, now=now, reason="r")
    for _ in range(20):
        app.extensions["flag_store"].stop()
        barrier = threading.Barrier(THREADS)
        answers: list[bool] = []

        def ask(barrier: threading.Barrier = barrier, answers: list[bool] = answers) -> None:
            barrier.wait()
            with app.app_context():
                answers.append(evaluate("both", "u").enabled)

        threads = [threading.Thread(target=ask) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == [True] * THREADS
