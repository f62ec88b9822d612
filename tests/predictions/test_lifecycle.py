"""Which version is the champion: what decides by itself, and what a person may do."""

from dataclasses import replace

import pytest

from webapp.predictions.lifecycle import first_verdict, may, no_verdict, target_of, verdict
from webapp.predictions.values import Task, VersionRef, VersionState

CHAMPION = VersionRef(
    id=7, number=3, task=Task.REGRESSION, features=(), file_hash="", held_out_share=0.2
)


@pytest.mark.parametrize(
    ("score", "champion_score", "promote"),
    [(0.9, 0.8, True), (0.8, 0.8, True), (0.8, 0.8 + 1e-12, True), (0.79, 0.8, False)],
)
def test_a_version_takes_over_where_it_is_not_worse(
    score: float, champion_score: float, promote: bool
) -> None:
    found = verdict(CHAMPION, Task.REGRESSION, score=score, champion_score=champion_score, rows=10)
    assert found.promote is promote
    assert (found.champion_id, found.champion, found.metric, found.rows) == (7, 3, "r2", 10)
    assert found.reason == f"It is {'not worse' if promote else 'worse'} than version 3."


@pytest.mark.parametrize(("score", "promote"), [(0.51, True), (0.5, False), (0.2, False)])
def test_the_first_has_to_beat_guessing(score: float, promote: bool) -> None:
    metrics = {"balanced_accuracy": score, "accuracy": 1.0}
    found = first_verdict(Task.CLASSIFICATION, metrics, baseline=0.5, rows=20)
    assert (found.promote, found.champion_id) == (promote, None)


def test_what_cannot_be_compared_is_for_a_person_to_decide() -> None:
    found = no_verdict(
        replace(CHAMPION, number=4),
        Task.REGRESSION,
        {"r2": 1.0},
        rows=0,
        reason="Its file is gone.",
    )
    assert (found.promote, found.champion_score, found.reason) == (False, None, "Its file is gone.")


@pytest.mark.parametrize(
    ("action", "state", "allowed"),
    [
        ("promote", VersionState.CANDIDATE, True),
        ("promote", VersionState.RETIRED, True),
        ("promote", VersionState.CHAMPION, False),
        ("retire", VersionState.CANDIDATE, True),
        ("retire", VersionState.CHAMPION, True),
        ("retire", VersionState.RETIRED, False),
    ],
)
def test_what_may_be_done_depends_on_the_state(
    action: str, state: VersionState, allowed: bool
) -> None:
    assert may(action, state) is allowed
    assert target_of(action) in VersionState
