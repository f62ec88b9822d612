"""What may become of a version, and whether a new one becomes the champion by itself.  Pure."""

from collections.abc import Mapping
from typing import Final

from webapp.predictions.values import SCORE, Comparison, Metrics, Task, VersionRef, VersionState

#: Scores that differ by less are the same: sums of floats are no more exact.
CLOSE: Final = 1e-9
#: From which states an action leads to which.  A retired one that is promoted is a way back.
ACTIONS: Final[Mapping[str, tuple[frozenset[VersionState], VersionState]]] = {
    "promote": (
        frozenset({VersionState.CANDIDATE, VersionState.RETIRED}),
        VersionState.CHAMPION,
    ),
    "retire": (
        frozenset({VersionState.CANDIDATE, VersionState.CHAMPION}),
        VersionState.RETIRED,
    ),
}


def may(action: str, state: VersionState) -> bool:
    """Tell whether a version in this state may be acted on."""
    return state in ACTIONS[action][0]


def target_of(action: str) -> VersionState:
    """Return the state that an action leads to."""
    return ACTIONS[action][1]


def score_of(task: Task, metrics: Metrics) -> float:
    """Return the figure that versions are compared by."""
    return metrics[SCORE[task]]


def first_verdict(task: Task, metrics: Metrics, *, baseline: float, rows: int) -> Comparison:
    """Decide about a version that has no champion to beat: it must beat guessing."""
    score = score_of(task, metrics)
    better = score > baseline + CLOSE
    return Comparison(
        champion_id=None,
        champion=None,
        metric=SCORE[task],
        rows=rows,
        champion_score=None,
        score=score,
        promote=better,
        reason=f"It is the first, and {'better than' if better else 'no better than'} guessing.",
    )


def verdict(
    champion: VersionRef, task: Task, *, score: float, champion_score: float, rows: int
) -> Comparison:
    """Decide about a version that was scored on the same rows as the champion."""
    good = score >= champion_score - CLOSE
    return Comparison(
        champion_id=champion.id,
        champion=champion.number,
        metric=SCORE[task],
        rows=rows,
        champion_score=champion_score,
        score=score,
        promote=good,
        reason=f"It is {'not worse' if good else 'worse'} than version {champion.number}.",
    )


def no_verdict(
    champion: VersionRef, task: Task, metrics: Metrics, *, rows: int, reason: str
) -> Comparison:
    """Say why a version cannot be compared with the champion: somebody has to decide."""
    return Comparison(
        champion_id=champion.id,
        champion=champion.number,
        metric=SCORE[task],
        rows=rows,
        champion_score=None,
        score=score_of(task, metrics),
        promote=False,
        reason=reason,
    )
