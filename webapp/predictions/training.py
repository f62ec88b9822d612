"""Training one version and using one: rows in, figures and answers out.

Loads scikit-learn.  Knows neither the database nor the queue; files are those of ``files``.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from webapp.errors import Invalid
from webapp.predictions import estimators
from webapp.predictions.features import (
    Plan,
    make_plan,
    read_record,
    read_row,
    readable,
)
from webapp.predictions.files import fetch, keep
from webapp.predictions.lifecycle import first_verdict, no_verdict, score_of, verdict
from webapp.predictions.sampling import Row, is_held_out
from webapp.predictions.values import (
    Answer,
    Comparison,
    Metrics,
    Trained,
    TrainingDraft,
    VersionRef,
)

#: So many rows are needed to learn from, and to score by.
MIN_TRAINED: Final = 30
MIN_HELD_OUT: Final = 10


@dataclass(frozen=True, slots=True)
class Model:
    """A version that is loaded, and can be asked."""

    version: VersionRef
    pipeline: Any

    @classmethod
    def load(cls, folder: Path, version: VersionRef) -> Self:
        """Load a version; :class:`Invalid` where its file is gone, changed or holds other types."""
        return cls(version, estimators.read(fetch(folder, version.file_hash)))

    def read(self, fields: Mapping[str, object]) -> list[float | str]:
        """Return what it reads in a record; ``features.Lacking`` where that is not there."""
        return read_record(self.version.features, fields)

    def answer(self, values: Sequence[Sequence[float | str]]) -> list[Answer]:
        """Return an answer to each of what :meth:`read` returned."""
        return estimators.predict(self.pipeline, values, self.version.task)


def train(
    rows: Sequence[Row],
    draft: TrainingDraft,
    *,
    key_field: str,
    champion: VersionRef | None,
    folder: Path,
    go_on: Callable[[str], None],
) -> Trained:
    """Train on the rows, score on those held out, compare with the champion, and keep the file.

    ``go_on`` is told what comes next, and raises where the job is to stop.
    """
    plan = make_plan(rows, draft, key_field=key_field, standing=champion.task if champion else None)
    learnt, held_out = _split(plan, draft.held_out_share)
    go_on(f"learning from {len(learnt):,} records")
    pipeline = estimators.fit(
        plan.features,
        [read_row(plan.features, plan.rows[at].cells) for at in learnt],
        [plan.targets[at] for at in learnt],
        task=plan.task,
        algorithm=plan.algorithm,
        seed=draft.seed,
    )
    go_on(f"scoring by {len(held_out):,} records")
    metrics = _score(pipeline, plan, held_out)
    comparison = _compare(pipeline, plan, metrics, held_out, champion, folder)
    data = estimators.write(pipeline)
    return Trained(
        draft=draft,
        task=plan.task,
        algorithm=plan.algorithm,
        features=plan.features,
        left_out=plan.left_out,
        metrics=metrics,
        comparison=comparison,
        rows_read=len(rows),
        rows_trained=len(learnt),
        rows_held_out=len(held_out),
        rows_unlabelled=plan.unlabelled,
        data_hash=data_hash(rows),
        file_hash=keep(folder, data),
        file_size=len(data),
    )


def data_hash(rows: Iterable[Row]) -> str:
    """Return a hash of keys and contents: equal where a version was trained on the same."""
    whole = hashlib.sha256()
    for row in rows:
        whole.update(f"{row.key}\0{row.content_hash}\n".encode("utf-8", "surrogatepass"))
    return whole.hexdigest()


def _split(plan: Plan, share: float) -> tuple[list[int], list[int]]:
    """Return which rows are learnt from, and which are held out."""
    out = [is_held_out(row.key, share) for row in plan.rows]
    learnt = [at for at, held in enumerate(out) if not held]
    held_out = [at for at, held in enumerate(out) if held]
    if len(learnt) < MIN_TRAINED or len(held_out) < MIN_HELD_OUT:
        raise Invalid(
            f"{len(learnt)} records to learn from and {len(held_out)} held out are too few: "
            f"{MIN_TRAINED} and {MIN_HELD_OUT} are needed."
        )
    return learnt, held_out


def _score(pipeline: Any, plan: Plan, places: Sequence[int]) -> Metrics:
    return estimators.score(
        pipeline,
        [read_row(plan.features, plan.rows[at].cells) for at in places],
        [plan.targets[at] for at in places],
        plan.task,
    )


def _compare(
    pipeline: Any,
    plan: Plan,
    metrics: Metrics,
    held_out: Sequence[int],
    champion: VersionRef | None,
    folder: Path,
) -> Comparison:
    """Score both on what neither has learnt from: of two shares held out, the smaller."""
    if champion is None:
        guessed = estimators.baseline([plan.targets[at] for at in held_out], plan.task)
        return first_verdict(plan.task, metrics, baseline=guessed, rows=len(held_out))
    if champion.task is not plan.task:
        reason = f"Version {champion.number} is a {champion.task}, and cannot be compared."
        return no_verdict(champion, plan.task, metrics, rows=len(held_out), reason=reason)
    common = [at for at in held_out if is_held_out(plan.rows[at].key, champion.held_out_share)]
    known = {row.key for row in readable(champion.features, (plan.rows[at] for at in common))}
    common = [at for at in common if plan.rows[at].key in known]
    if len(common) < MIN_HELD_OUT:
        reason = f"Version {champion.number} can be scored on {len(common)} records only."
        return no_verdict(champion, plan.task, metrics, rows=len(common), reason=reason)
    try:
        theirs = _champion_score(champion, plan, common, folder)
    except Invalid as error:
        reason = f"Version {champion.number} cannot be scored. {error.detail}"
        return no_verdict(champion, plan.task, metrics, rows=len(common), reason=reason)
    ours = score_of(plan.task, _score(pipeline, plan, common))
    return verdict(champion, plan.task, score=ours, champion_score=theirs, rows=len(common))


def _champion_score(champion: VersionRef, plan: Plan, places: Sequence[int], folder: Path) -> float:
    model = Model.load(folder, champion)
    values = [read_row(champion.features, plan.rows[at].cells) for at in places]
    wanted = [plan.targets[at] for at in places]
    return score_of(plan.task, estimators.score(model.pipeline, values, wanted, plan.task))
