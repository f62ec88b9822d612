"""What the workers of a consumer have ended, counted across processes and threads."""

import multiprocessing
import os
import threading
from pathlib import Path

import pytest

from tasks import tallies
from tasks.memory import memory_of
from webapp.jobs.values import Outcome


def test_processes_add_to_places_of_their_own_and_one_that_is_killed_loses_nothing() -> None:
    tally = tallies.begin(3)
    forked = multiprocessing.get_context("fork")

    def work(place: int) -> None:
        tally.take(place)
        for _ in range(500):
            tally.add(Outcome.SUCCEEDED)
        tally.add(Outcome.FAILED)
        os._exit(1)

    workers = [forked.Process(target=work, args=(place,)) for place in (1, 2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    replacement = forked.Process(target=work, args=(2,))
    replacement.start()
    replacement.join()
    assert tally.sums() == (1_500, 3)


def test_threads_share_a_place() -> None:
    tally = tallies.begin(1)

    def work() -> None:
        for _ in range(2_000):
            tally.add(Outcome.SUCCEEDED)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert tally.sums() == (8_000, 0)


@pytest.mark.parametrize(
    "outcome", [Outcome.LOST, Outcome.RELEASED, Outcome.DEFERRED, Outcome.CANCELED]
)
def test_what_only_goes_back_is_neither_done_nor_failed(outcome: Outcome) -> None:
    tally = tallies.begin(1)
    tally.add(outcome)
    assert tally.sums() == (0, 0)


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="Linux tells it")
def test_memory_is_that_of_a_process_and_its_children() -> None:
    alone = memory_of(os.getpid())
    assert alone is not None
    ballast = 30_000_000
    ready, end = multiprocessing.Event(), multiprocessing.Event()

    def hold() -> None:
        held = os.urandom(ballast)
        ready.set()
        end.wait(60)
        del held

    child = multiprocessing.get_context("fork").Process(target=hold)
    child.start()
    try:
        assert ready.wait(60)
        together = memory_of(os.getpid())
    finally:
        end.set()
        child.join()
    assert together is not None
    assert together - alone > ballast * 0.9


def test_of_a_process_that_is_not_there_nothing_is_known() -> None:
    assert memory_of(2**30) is None
