"""How many jobs are taken at once: a table of candidates and what is chosen of them."""

import pytest

from webapp.jobs.choice import (
    BATCH_SECONDS,
    MOST,
    QUICK_SECONDS,
    Candidate,
    choose,
    most_at_once,
    next_pace,
)

PACES = {"quick": 0.001, "brisk": 0.01, "slow": 3.0, "new": None}

# the types that wait, those with a plus were claimed before; how many are taken
CASES: list[tuple[str, int]] = [
    ("", 0),
    ("quick quick quick", 3),
    ("quick slow quick", 1),
    ("quick new quick", 1),
    ("quick unheard-of", 1),
    ("slow quick", 1),
    ("new quick", 1),
    # It may have killed its worker.
    ("quick quick+ quick", 1),
    ("quick+ quick", 1),
    # Until the batch is full.
    ("brisk " * 10, int(BATCH_SECONDS / QUICK_SECONDS) + 1),
]


@pytest.mark.parametrize(("waiting", "taken"), CASES)
def test_only_what_is_quick_and_new_is_taken_with_others(waiting: str, taken: int) -> None:
    candidates = [
        Candidate(number, word.rstrip("+"), claims=word.count("+"))
        for number, word in enumerate(waiting.split())
    ]
    assert choose(candidates, PACES) == candidates[:taken]


def test_a_worker_looks_at_one_job_while_it_knows_no_quick_type() -> None:
    assert most_at_once({}) == most_at_once({"slow": 3.0, "new": None}) == 1
    assert most_at_once(PACES) == MOST


def test_a_pace_follows_what_jobs_take_and_forgets() -> None:
    pace = next_pace(None, 1.0)
    assert pace == 1.0
    for _ in range(30):
        pace = next_pace(pace, 0.0)
    assert pace <= QUICK_SECONDS
    assert next_pace(0.0, 1.0) > QUICK_SECONDS
