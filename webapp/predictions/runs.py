"""Writes runs: one goes through the records of a source, batch by batch, and keeps what was said.

A run keeps the versions with which it began.  Never predicts: it is handed the answers.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import cast

from sqlalchemy import Table, select
from sqlalchemy.dialects import postgresql, sqlite

from webapp.db import DbSession
from webapp.errors import Invalid
from webapp.predictions.champions import challenger_of, champion_of
from webapp.predictions.models import Model, Prediction, PredictionRun
from webapp.predictions.values import NewPrediction, PredictionBatch

MAX_REASONS = 20
OTHER_REASONS = "For other reasons."
_INSERTS: Mapping[str, Callable[[Table], sqlite.Insert | postgresql.Insert]] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
}


def begin_run(session: DbSession, model: Model, *, job_id: int, now: datetime) -> PredictionRun:
    """Return the run of a job, made with the versions of this moment where there is none."""
    standing = session.scalar(select(PredictionRun).where(PredictionRun.job_id == job_id))
    if standing is not None:
        return standing
    champion = champion_of(session, model)
    if champion is None:
        raise Invalid.field(
            "target", f"The model of {model.target!r} has no champion: promote a version first."
        )
    challenger = challenger_of(session, champion)
    run = PredictionRun(
        model_id=model.id,
        champion_id=champion.id,
        challenger_id=challenger.id if challenger else None,
        job_id=job_id,
        started_at=now,
        processed=0,
        written=0,
        unchanged=0,
        challenged=0,
        rejected=0,
        rejections={},
    )
    session.add(run)
    session.flush()
    return run


def predicted_hashes(
    session: DbSession, version_ids: Sequence[int], keys: Sequence[str]
) -> dict[tuple[int, str], str]:
    """Return for which contents of these records these versions have answered."""
    rows = session.execute(
        select(Prediction.version_id, Prediction.key, Prediction.content_hash).where(
            Prediction.version_id.in_(version_ids), Prediction.key.in_(keys)
        )
    )
    return {(row.version_id, row.key): row.content_hash for row in rows}


def write_batch(
    session: DbSession, run_id: int, batch: PredictionBatch, *, now: datetime
) -> PredictionRun:
    """Write what one batch of records came to; its counts stand or fall with it."""
    run = session.get_one(PredictionRun, run_id, populate_existing=True, with_for_update=True)
    _upsert(session, batch.predictions, run_id=run_id, now=now)
    rejected = sum(batch.rejected.values())
    run.processed += len(batch.predictions) + batch.unchanged + rejected
    run.written += len(batch.predictions)
    run.unchanged += batch.unchanged
    run.challenged += batch.challenged
    run.rejected += rejected
    run.rejections = _together(run.rejections, batch.rejected)
    session.flush()
    return run


def _upsert(
    session: DbSession, predictions: Sequence[NewPrediction], *, run_id: int, now: datetime
) -> None:
    if not predictions:
        return
    insert = _INSERTS[session.get_bind().dialect.name](cast("Table", Prediction.__table__))
    changed = ("content_hash", "label", "number", "probability", "run_id", "predicted_at")
    session.execute(
        insert.on_conflict_do_update(
            index_elements=["version_id", "key"],
            set_={name: insert.excluded[name] for name in changed},
        ),
        [
            {
                "version_id": item.version_id,
                "key": item.key,
                "content_hash": item.content_hash,
                "label": item.answer.label,
                "number": item.answer.number,
                "probability": item.answer.probability,
                "run_id": run_id,
                "predicted_at": now,
            }
            for item in predictions
        ],
    )


def _together(before: Mapping[str, int], more: Mapping[str, int]) -> dict[str, int]:
    """Add counts of reasons up; of very many, those beyond the first ones become one."""
    counts = Counter(before)
    for reason, count in more.items():
        known = reason in counts or len(counts) < MAX_REASONS
        counts[reason if known else OTHER_REASONS] += count
    return dict(counts)


def finish_run(session: DbSession, run_id: int, *, now: datetime) -> PredictionRun:
    """Settle a run that has gone through all records."""
    run = session.get_one(PredictionRun, run_id, populate_existing=True)
    run.ended_at = now
    session.flush()
    return run
